"""The models: which there are, and their weights on this machine."""
