"""What examples of the API have in common."""

from __future__ import annotations

PHOTO = "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAP...="
"""The beginning of a JPEG in base64."""
