"""The `letters` voter: a linear model of pieces of words, learnt once, exact on every machine."""
