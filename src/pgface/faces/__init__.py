"""From pixels to embeddings. This package knows no SQL."""
