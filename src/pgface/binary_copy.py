"""Rows of embeddings as PostgreSQL's binary COPY lays them out, for NumPy to write and read a block of them at once."""

from __future__ import annotations

import numpy as np

from pgface.faces.engine import EMBEDDING_DIMENSION

# https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format": a signature with two empty words, the rows,
# and an end. Every row here has the same length; row by row through psycopg took 2.4 times as long.
BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = b"\xff\xff"
ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("user_id_bytes", ">i4"),
        ("user_id", ">i4"),
        ("embedding_bytes", ">i4"),
        # A vector as pgvector sends it: dimension, a word of zeros, the numbers.
        ("dimension", ">i2"),
        ("unused", ">i2"),
        ("embedding", ">f4", EMBEDDING_DIMENSION),
    ]
)
