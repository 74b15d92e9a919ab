"""Decode the bytes of a photo to upright RGB pixels."""
