"""The old world, SQLite and NPY, which is read and never changed, and the way into a gallery, also for an export."""
