"""Face recognition in your PostgreSQL.

from pgface import Gallery

with Gallery.open() as gallery:
    gallery.enroll("alice.jpg", "alice@example.org", name="Alice")
    for face in gallery.identify("group.jpg").faces:
        print(face.face.box, face.matches)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pgface.errors import PgfaceError
    from pgface.faces.engines.base import Box, Engine, Face, Quality
    from pgface.galleries import Galleries, GalleryInfo
    from pgface.gallery import Gallery
    from pgface.gallery.attributes import ExternalId
    from pgface.gallery.enroll_folder import FolderReport
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
    "ExternalId",
    "Face",
    "FolderReport",
    "Galleries",
    "Gallery",
    "GalleryInfo",
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

_MODULES: Final = dict.fromkeys(__all__, "results") | {
    "Box": "faces.engines.base",
    "Engine": "faces.engines.base",
    "ExternalId": "gallery.attributes",
    "Face": "faces.engines.base",
    "FolderReport": "gallery.enroll_folder",
    "Galleries": "galleries",
    "Gallery": "gallery.gallery",
    "GalleryInfo": "galleries",
    "PgfaceError": "errors",
    "Quality": "faces.engines.base",
    "Settings": "settings",
}
"""The module of each public name. It is imported when you first use the name, so that commands start quickly."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"pgface.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
