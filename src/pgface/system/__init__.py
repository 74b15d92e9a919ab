"""Facts about the operating system and the Python that pgface runs in."""
