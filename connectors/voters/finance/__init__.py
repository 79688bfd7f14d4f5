"""The `finance` voter: a linear model of headlines, learnt once, exact on every machine."""
