"""Migration of an old installation (SQLite and NPY) into a gallery. Imports of exports use it, too."""
