"""The vector indexes: the specification's, for SQL that orders by distance, and the one for identification."""

from pgface.search.vector_index.build import IndexBuild, build_index
from pgface.search.vector_index.check import IndexCheck, Latency, SearchCheck, Share, check_index
from pgface.search.vector_index.definition import METHODS, Method, advised_lists, define
from pgface.search.vector_index.progress import OnProgress, Progress
from pgface.search.vector_index.status import IndexStatus, StoredIndex, read_index_status

__all__ = [
    "METHODS",
    "IndexBuild",
    "IndexCheck",
    "IndexStatus",
    "Latency",
    "Method",
    "OnProgress",
    "Progress",
    "SearchCheck",
    "Share",
    "StoredIndex",
    "advised_lists",
    "build_index",
    "check_index",
    "define",
    "read_index_status",
]
