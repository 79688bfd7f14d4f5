"""Models that a provider runs: asked over a network, paid for, recorded."""
