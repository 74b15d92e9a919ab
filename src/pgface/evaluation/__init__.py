"""The error rates of a model on a set of photos, in 1:1 and 1:N, with confidence intervals."""
