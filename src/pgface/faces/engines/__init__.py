"""The engines: find faces and turn each into an embedding."""
