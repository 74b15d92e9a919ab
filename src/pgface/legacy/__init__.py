"""The old world, SQLite and NPY, which is read and never changed, and the way from there into a gallery."""
