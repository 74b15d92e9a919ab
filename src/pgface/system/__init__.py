"""What pgface asks of the operating system and of the Python that it runs in."""
