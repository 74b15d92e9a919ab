"""A cache of embedded photos, because most tests use the same hundred photos."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any
from unittest.mock import patch

from pgface.faces.engines.base import Choose, Face, ModelIdentity, every_face
from pgface.faces.engines.insightface import InsightFaceEngine
from pgface.faces.engines.sface import SFaceEngine
from pgface.faces.pixels import RGBImage

_MAX_PHOTOS = 300
"""Number of photos in the cache. A face keeps the pixels of its photo in memory."""
_MAX_BYTES = 4_000_000
"""Decoded size of a photo in the cache."""

Key = tuple[ModelIdentity, tuple[int, ...], bytes]

_known: OrderedDict[Key, list[Face]] = OrderedDict()
_lock = Lock()


@contextmanager
def cached_embeddings() -> Iterator[None]:
    """Until the block ends, the engines of InsightFace and sface embed each photo only once.

    The choice among the faces is made for every call.
    """
    with ExitStack() as stack:
        for engine in (InsightFaceEngine, SFaceEngine):
            stack.enter_context(patch.object(engine, "detect_and_embed", _remembering(engine.detect_and_embed)))
        yield


def _remembering(run: Callable[..., list[Face]]) -> Callable[..., list[Face]]:
    def remember(self: Any, image: RGBImage, choose: Choose = every_face) -> list[Face]:
        if image.nbytes > _MAX_BYTES:
            return run(self, image, choose)
        key = (self.identity, image.shape, hashlib.sha256(image.tobytes()).digest())
        with _lock:
            found = _known.get(key)
        if found is None:
            found = run(self, image)
            with _lock:
                _known[key] = found
                while len(_known) > _MAX_PHOTOS:
                    _known.popitem(last=False)
        return [face for face in choose(found) if isinstance(face, Face)]

    return remember
