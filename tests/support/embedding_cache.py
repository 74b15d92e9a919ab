"""Embed a photo once: most tests use the same hundred photos, and not for their pixels."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from unittest.mock import patch

from pgface.faces.engines.base import Choose, Face, ModelIdentity, every_face
from pgface.faces.engines.insightface import InsightFaceEngine
from pgface.faces.pixels import RGBImage

_MOST = 300
"""Pictures whose faces are kept: a face holds on to its picture's pixels."""
_LARGEST = 4_000_000
"""Bytes of such a picture, decoded."""

Key = tuple[ModelIdentity, tuple[int, ...], bytes]

_known: OrderedDict[Key, list[Face]] = OrderedDict()
_lock = Lock()


@contextmanager
def embeddings_are_remembered() -> Iterator[None]:
    """Until the block ends, InsightFace's engines run a picture through their networks once.

    What they found is what they would find again; which faces are meant is chosen anew each time.
    """
    run = InsightFaceEngine.detect_and_embed

    def remember(self: InsightFaceEngine, image: RGBImage, choose: Choose = every_face) -> list[Face]:
        if image.nbytes > _LARGEST:
            return run(self, image, choose)
        key = (self.identity, image.shape, hashlib.sha256(image.tobytes()).digest())
        with _lock:
            found = _known.get(key)
        if found is None:
            found = run(self, image)
            with _lock:
                _known[key] = found
                while len(_known) > _MOST:
                    _known.popitem(last=False)
        return [face for face in choose(found) if isinstance(face, Face)]

    with patch.object(InsightFaceEngine, "detect_and_embed", remember):
        yield
