"""The gallery: users, photos, enrollment, identification and verification."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgface.gallery.gallery import Gallery as Gallery


def __getattr__(name: str) -> Any:
    # Imported at the first use, because most commands need only a part of the gallery.
    if name != "Gallery":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pgface.gallery.gallery import Gallery

    return Gallery
