"""Embeddings and their people in files that other programs read, and the way back."""
