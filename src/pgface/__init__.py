"""Face recognition in your PostgreSQL.

from pgface import Gallery

with Gallery.open() as gallery:
    gallery.enroll("alice.jpg", "alice@example.org", name="Alice")
    for face in gallery.identify("group.jpg").faces:
        print(face.face.box, face.matches)
"""

from pgface.errors import PgfaceError
from pgface.faces.engine import Box, Engine, Face, Quality
from pgface.folder import FolderReport
from pgface.gallery import Gallery
from pgface.results import (
    Comparison,
    Enrollment,
    Identification,
    IdentifiedFace,
    Match,
    Status,
    StoredPhoto,
    User,
    Verification,
)
from pgface.settings import Settings

__all__ = [
    "Box",
    "Comparison",
    "Engine",
    "Enrollment",
    "Face",
    "FolderReport",
    "Gallery",
    "Identification",
    "IdentifiedFace",
    "Match",
    "PgfaceError",
    "Quality",
    "Settings",
    "Status",
    "StoredPhoto",
    "User",
    "Verification",
]
