"""The gallery: the enrolled people, and the questions you can ask about a face."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgface.gallery.gallery import Gallery as Gallery


def __getattr__(name: str) -> Any:
    # Imported when it is first used: most commands need a part of the gallery, and not all of it.
    if name != "Gallery":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pgface.gallery.gallery import Gallery

    return Gallery
