"""Migrates an old installation (SQLite and NPY) into a gallery. The import of an export uses the same code."""
