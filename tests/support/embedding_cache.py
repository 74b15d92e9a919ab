"""A cache of embedded photos, because most tests use the same hundred photos."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from unittest.mock import patch

from pgface.faces.engines.base import Choose, Face, ModelIdentity, every_face
from pgface.faces.engines.networks import NetworkEngine
from pgface.faces.pixels import Picture, RGBImage

_MAX_PHOTOS = 300
"""Number of photos in the cache. A face keeps the pixels of its photo in memory."""
_MAX_BYTES = 4_000_000
"""Decoded size of a photo in the cache."""

Key = tuple[ModelIdentity, str, float, tuple[int, ...], bytes]

_known: OrderedDict[Key, list[Face]] = OrderedDict()
_lock = Lock()


@contextmanager
def cached_embeddings() -> Iterator[None]:
    """Until the block ends, engines of networks embed each photo only once.

    The choice among the faces is made for every call.
    """
    run = NetworkEngine.detect_and_embed

    def remember(
        self: NetworkEngine, image: RGBImage | Picture, choose: Choose = every_face, *, overlook: float = 0.0
    ) -> list[Face]:
        pixels = Picture.of(image).pixels
        if pixels.nbytes > _MAX_BYTES:
            return run(self, image, choose, overlook=overlook)
        key = (
            self.identity,
            self.execution_provider,
            overlook,
            pixels.shape,
            hashlib.sha256(pixels.tobytes()).digest(),
        )
        with _lock:
            found = _known.get(key)
        if found is None:
            found = run(self, image, overlook=overlook)
            with _lock:
                _known[key] = found
                while len(_known) > _MAX_PHOTOS:
                    _known.popitem(last=False)
        return [face for face in choose(found) if isinstance(face, Face)]

    with patch.object(NetworkEngine, "detect_and_embed", remember):
        yield
