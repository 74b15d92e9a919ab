"""Compares an engine on a device with the same engine on the CPU, because a gallery may get embeddings of both.

Devices may calculate with fewer bits. The thresholds were measured with float32, and stay valid as long as a face gets
the same embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pgface.errors import ExecutionProviderError
from pgface.faces.drawn_face import drawn_face
from pgface.faces.engines.arcface import aligned_face
from pgface.faces.engines.networks import NetworkEngine
from pgface.faces.engines.providers import CPU, Provider, short_name

MIN_AGREEMENT: Final = 0.999
"""Minimum similarity of two embeddings of the same pixels. With w600k_mbf on OpenVINO, ten photos had 0.999993 at least
with 16-bit floats, and 0.9997 with bfloat16."""
FULL_AGREEMENT: Final = 0.9999
"""The similarity from which thresholds need no thought. No similarity to a third embedding then changes by more than
the root of 2(1 - 0.9999), which is 0.014."""
_MIN_AGREEMENT_OF_PHOTOS: Final = 0.9
"""The same for a whole photo, where the landmarks differ too. It finds only a detector that is wrong, because two sizes
of the first look lead to 0.94 at worst."""
_LANDMARKS: Final = np.array([[105, 117], [145, 117], [125, 145], [111, 164], [139, 164]], np.float32)
"""Those of the drawn face, so that both networks embed the same pixels."""


def checked_against_cpu(load: Callable[[list[Provider]], NetworkEngine], providers: list[Provider]) -> NetworkEngine:
    """Load an engine. If it does not run on the CPU, embed a drawn face on both, and set `agreement`.

    Args:
        load: loads the engine for the providers that it gets.
        providers: the result of `execution_providers`.

    Raises:
        ExecutionProviderError: the device finds no face where the CPU finds one, or its embedding differs too much.
        ModelError: as `load`.

    """
    engine = load(providers)
    if providers[0] != CPU:
        other, name = load([CPU]), short_name(providers[0])
        if not _find_the_same(engine, other):
            raise ExecutionProviderError(
                f"The detector finds other faces on {name} than on the CPU. Let the provider calculate with 32 bits, "
                "or set PGFACE_EXECUTION_PROVIDER=CPU."
            )
        engine.agreement = agreement(engine, other)
        if not engine.agreement >= MIN_AGREEMENT:
            raise ExecutionProviderError(
                f"The embedding of a face on {name} has a similarity of {engine.agreement:.4f} to that of the CPU, and "
                f"pgface needs {MIN_AGREEMENT}. Let the provider calculate with 32 bits, or set "
                "PGFACE_EXECUTION_PROVIDER=CPU."
            )
    return engine


def agreement(engine: NetworkEngine, other: NetworkEngine) -> float:
    """Return the similarity of two engines' embeddings of the same pixels."""
    return float(_embedding(engine) @ _embedding(other))


def _embedding(engine: NetworkEngine) -> NDArray[np.float32]:
    recogniser = engine.recogniser
    descriptor = recogniser.describe(aligned_face(drawn_face(), _LANDMARKS, recogniser.side))
    return recogniser.embedding(descriptor / np.linalg.norm(descriptor))


def _find_the_same(engine: NetworkEngine, other: NetworkEngine) -> bool:
    """Whether two detectors find the same faces in the drawn photo, and landmarks that lead to similar embeddings."""
    ours, theirs = (each.detect_and_embed(drawn_face()) for each in (engine, other))
    similarities = [float(one.embedding @ another.embedding) for one, another in zip(ours, theirs, strict=False)]
    return len(ours) == len(theirs) and min(similarities, default=1.0) >= _MIN_AGREEMENT_OF_PHOTOS
