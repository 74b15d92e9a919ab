"""Export embeddings and their users to files that other programs can read, and import such files."""
