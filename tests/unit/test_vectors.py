"""Rows of binary COPY, compared with rows that the test packs by the format's description."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from pgface.vectors import COPY_HEADER, COPY_TRAILER, pack_rows, pack_rows_with_photos, unpack_rows

USERS = np.array([7, 12, 2**31 - 1])
EMBEDDINGS = np.random.default_rng(0).standard_normal((3, 512)).astype(np.float32)


def field(data: bytes | None) -> bytes:
    return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data


def integer(number: int) -> bytes:
    return struct.pack(">i", number)


def vector(embedding: np.ndarray) -> bytes:
    return struct.pack(">hh512f", 512, 0, *embedding)


@pytest.mark.parametrize("photos", [[0, 0, 0], [4, 9, 11], [4, 0, 11], [0, 9, 0]])
def test_rows_with_and_without_a_photo_keep_their_order(photos: list[int]) -> None:
    expected = b"".join(
        struct.pack(">h", 3)
        + field(integer(user))
        + field(integer(photo) if photo else None)
        + field(vector(embedding))
        for user, photo, embedding in zip(USERS.tolist(), photos, EMBEDDINGS, strict=True)
    )
    assert pack_rows_with_photos(USERS, np.array(photos), EMBEDDINGS) == expected


def test_unpacked_rows_equal_the_packed_ones() -> None:
    expected = [
        struct.pack(">h", 2) + field(integer(user)) + field(vector(embedding))
        for user, embedding in zip(USERS.tolist(), EMBEDDINGS, strict=True)
    ]
    assert pack_rows(USERS, EMBEDDINGS) == b"".join(expected)
    ((users, embeddings),) = unpack_rows([COPY_HEADER + expected[0], *expected[1:], COPY_TRAILER])
    assert users.tolist() == USERS.tolist()
    assert embeddings.tobytes() == EMBEDDINGS.tobytes()
