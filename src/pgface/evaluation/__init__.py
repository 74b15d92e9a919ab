"""How often a model errs on a set of photos: the rates of 1:1 and 1:N, and how far they can be trusted."""
