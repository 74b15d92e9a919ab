"""Search libraries to compare with, which run in this process without a server: NumPy, FAISS, hnswlib."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgface.system.extras import how_to_install

Search = Callable[[NDArray[np.float32]], int]
"""Finds the row of the embedding most similar to a probe, shape (512,), norm 1. -1 for none."""
SearchWith = Callable[[int | None], Search]
"""Gives the search with an effort, None for a search without one."""

EFFORTS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192)
"""Values of efSearch, ascending."""

_NEIGHBOURS = 16
"""Neighbours of a node of the graph, as by pgvector's default."""
_BUILD_EFFORT = 64
"""efConstruction, as by pgvector's default."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A search over embeddings in memory, for one probe at a time."""

    name: str
    package: str
    build: Callable[[NDArray[np.float32]], SearchWith]
    """Indexes embeddings, shape (n, 512), float32, norm 1, with all cores."""
    how_to_install: Callable[[], str] = str
    """Gives the command."""
    efforts: tuple[int | None, ...] = EFFORTS
    """The efforts to try, ascending."""
    rest: float = 0.0
    """Seconds until its threads sleep after a search, and leave the cores to others."""


def _build_numpy(embeddings: NDArray[np.float32]) -> SearchWith:
    """Search by one float32 product with all embeddings, with the threads of NumPy's BLAS."""
    return lambda _: lambda probe: int((embeddings @ probe).argmax())


def _build_faiss(embeddings: NDArray[np.float32]) -> SearchWith:
    """Search `IndexHNSWFlat` by inner product, which uses one thread for one probe. It copies the embeddings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from the wrapper's generator since Python 3.12
        import faiss
    index: Any = faiss.IndexHNSWFlat(embeddings.shape[1], _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = _BUILD_EFFORT
    index.add(embeddings)

    def search_with(effort: int | None) -> Search:
        index.hnsw.efSearch = effort
        return lambda probe: int(index.search(probe[np.newaxis], 1)[1][0, 0])

    return search_with


def _build_hnswlib(embeddings: NDArray[np.float32]) -> SearchWith:
    """Search hnswlib by inner product. It copies the embeddings."""
    import hnswlib

    index = hnswlib.Index(space="ip", dim=embeddings.shape[1])
    index.init_index(len(embeddings), M=_NEIGHBOURS, ef_construction=_BUILD_EFFORT)
    index.add_items(embeddings)

    def search_with(effort: int | None) -> Search:
        index.set_ef(effort)
        return lambda probe: int(index.knn_query(probe[np.newaxis], k=1, num_threads=1)[0][0, 0])

    return search_with


_PEERS = (
    # OpenBLAS's threads wait actively for more work for 2**26 cycles.
    Peer("NumPy, exact", "numpy", _build_numpy, efforts=(None,), rest=0.05),
    Peer("FAISS HNSW", "faiss", _build_faiss, lambda: how_to_install("bench")),
    Peer(
        "hnswlib",
        "hnswlib",
        _build_hnswlib,
        lambda: "`pip install hnswlib`, which needs a C++ compiler",
    ),
)


def installed_peers() -> list[Peer]:
    """Give the peers whose packages are installed."""
    return [peer for peer in _PEERS if importlib.util.find_spec(peer.package) is not None]


def missing_peers() -> list[str]:
    """Give a sentence for each peer that is not installed."""
    return [
        f"{peer.package} is not installed, so there is no comparison with it. Install it with {peer.how_to_install()}."
        for peer in _PEERS
        if importlib.util.find_spec(peer.package) is None
    ]
