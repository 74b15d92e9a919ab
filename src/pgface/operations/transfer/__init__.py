"""Export of embeddings and their users to files that other programs read, and import of such files."""
