"""Photos of synthetic people, for tests of the error rates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def photos(sizes: list[int], *, noise: float = 1.0, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return shuffled embeddings and their people. Photos of one person have a cosine of about 1 / (1 + noise²)."""
    random = np.random.default_rng(seed)
    people = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    directions = _unit(random.standard_normal((len(sizes), 512)))
    embeddings = directions[people] + noise * _unit(random.standard_normal((len(people), 512)))
    return _unit(embeddings).astype(np.float32), people


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
