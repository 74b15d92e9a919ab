"""Search libraries to compare with, which run in this process without a server: NumPy, FAISS, hnswlib."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pgface.system.extras import how_to_install

_NEIGHBOURS = 16
"""Neighbours of a node of the graph, as by pgvector's default."""
_BUILD_EFFORT = 64
"""efConstruction, as by pgvector's default."""

EFFORTS: tuple[int, ...] = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192)
"""Values of efSearch, ascending."""


class Peer(Protocol):
    """A search over embeddings in memory, for one probe at a time."""

    name: str
    efforts: tuple[int, ...]
    """The values for `set_effort`, ascending. Empty for an exact search."""
    rest: float
    """Seconds until its threads sleep after a search, and leave the cores to others."""

    def build(self, embeddings: NDArray[np.float32]) -> None:
        """Index embeddings, shape (n, 512), float32, norm 1."""

    def set_effort(self, effort: int) -> None:
        """Set the effort of the next searches."""

    def search(self, probe: NDArray[np.float32]) -> int:
        """Find the row of the embedding most similar to a probe, shape (512,), norm 1. -1 for none."""


class NumpyExact:
    """One float32 product with all embeddings, with the threads of NumPy's BLAS."""

    name = "NumPy, exact"
    efforts: tuple[int, ...] = ()
    rest = 0.05
    """OpenBLAS's threads wait actively for more work for 2**26 cycles."""

    def build(self, embeddings: NDArray[np.float32]) -> None:
        """Keep a reference to the embeddings."""
        self._embeddings = embeddings

    def set_effort(self, effort: int) -> None:
        """Do nothing, because the search is exact."""

    def search(self, probe: NDArray[np.float32]) -> int:
        """Find the row with the largest product."""
        return int((self._embeddings @ probe).argmax())


class FaissHnsw:
    """FAISS `IndexHNSWFlat` by inner product. The search for one probe uses one thread."""

    name = "FAISS HNSW"
    efforts = EFFORTS
    rest = 0.0

    def build(self, embeddings: NDArray[np.float32]) -> None:
        """Build the graph with all cores. It keeps a copy of the embeddings."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from the wrapper's generator since Python 3.12
            import faiss
        self._index: Any = faiss.IndexHNSWFlat(embeddings.shape[1], _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = _BUILD_EFFORT
        self._index.add(embeddings)

    def set_effort(self, effort: int) -> None:
        """Set efSearch."""
        self._index.hnsw.efSearch = effort

    def search(self, probe: NDArray[np.float32]) -> int:
        """Find the best row of the graph search."""
        return int(self._index.search(probe[np.newaxis], 1)[1][0, 0])


class Hnswlib:
    """hnswlib by inner product."""

    name = "hnswlib"
    efforts = EFFORTS
    rest = 0.0

    def build(self, embeddings: NDArray[np.float32]) -> None:
        """Build the graph with all cores. It keeps a copy of the embeddings."""
        import hnswlib

        self._index: Any = hnswlib.Index(space="ip", dim=embeddings.shape[1])
        self._index.init_index(len(embeddings), M=_NEIGHBOURS, ef_construction=_BUILD_EFFORT)
        self._index.add_items(embeddings)

    def set_effort(self, effort: int) -> None:
        """Set ef."""
        self._index.set_ef(effort)

    def search(self, probe: NDArray[np.float32]) -> int:
        """Find the best row of the graph search."""
        return int(self._index.knn_query(probe[np.newaxis], k=1, num_threads=1)[0][0, 0])


def installed_peers() -> list[Callable[[], Peer]]:
    """Give the peers whose packages are installed."""
    return [make for package, make, _ in _PEERS if importlib.util.find_spec(package) is not None]


def missing_peers() -> list[str]:
    """Give a sentence for each peer that is not installed."""
    return [
        f"{package} is not installed, so there is no comparison with it. {how()}."
        for package, _, how in _PEERS
        if importlib.util.find_spec(package) is None
    ]


_PEERS: tuple[tuple[str, Callable[[], Peer], Callable[[], str]], ...] = (
    ("numpy", NumpyExact, str),
    ("faiss", FaissHnsw, lambda: f"Install it with {how_to_install('bench')}"),
    ("hnswlib", Hnswlib, lambda: "Install it with `pip install hnswlib`, which needs a C++ compiler"),
)
