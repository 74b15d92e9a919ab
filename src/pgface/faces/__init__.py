"""Pixels to embeddings; knows no SQL."""
