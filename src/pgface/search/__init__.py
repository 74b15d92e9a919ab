"""How identification searches: the method for the gallery's size, its templates and indexes, and its agreement."""
