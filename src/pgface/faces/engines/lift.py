"""Convert 128-D descriptors to 512-D unit vectors, whose cosine corresponds to the distance of the descriptors.

dlib compares descriptors by Euclidean distance d, with 0.6 as its threshold. Their cosine is useless, because all of
them point in similar directions. The Gaussian kernel k(d) = exp(-γ d²) turns the distance into a similarity between 0
and 1. Fixed random Fourier features make vectors whose dot product approximates it:

    z(x) = [cos(W x), sin(W x)] / √256,    z(x)·z(y) = mean(cos(W (x - y))) ≈ exp(-γ |x - y|²)

(Rahimi & Recht 2007, «Random Features for Large-Scale Kernel Machines»). The rows of W are orthogonal within each block
of 128, with the norms that independent Gaussian rows would have, which lowers the error of the approximation (Yu et al.
2016, «Orthogonal Random Features»). γ decides which distance becomes which similarity. W grows with its square root.

W is a file that `make_frequencies` made once, for dlib's γ. Random streams and the signs of a QR decomposition differ
between versions of the libraries, and embeddings made with another W would not be comparable.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DESCRIPTOR_DIMENSION = 128
FREQUENCIES = 256
DLIB_GAMMA = -math.log(0.7) / 0.6**2
"""It sends dlib's threshold, distance 0.6, to similarity 0.7."""
LIFT_FILE = Path(__file__).with_name("dlib_lift.npy")


def lift(descriptors: NDArray[np.floating], gamma: float) -> NDArray[np.float32]:
    """Lift descriptors to embeddings.

    Args:
        descriptors: shape (..., 128).
        gamma: γ of the kernel. Descriptors at distance d get the similarity exp(-γ d²).

    Returns:
        Shape (..., 512), float32, Euclidean norm 1.

    """
    angles = math.sqrt(gamma / DLIB_GAMMA) * np.asarray(descriptors, dtype=np.float64) @ _frequencies().T
    features = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1) / math.sqrt(FREQUENCIES)
    return features.astype(np.float32)


def make_frequencies(seed: int) -> NDArray[np.float32]:
    """Make a matrix W, shape (256, 128), float32. NumPy 2.4 made the one in use, with seed 2007."""
    generator = np.random.default_rng(seed)
    blocks = []
    for _ in range(FREQUENCIES // DESCRIPTOR_DIMENSION):
        gaussian = generator.standard_normal((DESCRIPTOR_DIMENSION, DESCRIPTOR_DIMENSION))
        orthogonal, triangular = np.linalg.qr(gaussian)
        # These signs make the orthogonal matrix uniformly distributed (Mezzadri 2007).
        orthogonal *= np.sign(np.diag(triangular))
        norms = np.linalg.norm(generator.standard_normal((DESCRIPTOR_DIMENSION, DESCRIPTOR_DIMENSION)), axis=1)
        blocks.append(norms[:, np.newaxis] * orthogonal)
    return (math.sqrt(2 * DLIB_GAMMA) * np.concatenate(blocks)).astype(np.float32)


@cache
def _frequencies() -> NDArray[np.float64]:
    return np.load(LIFT_FILE, allow_pickle=False).astype(np.float64)  # type: ignore[no-any-return]
