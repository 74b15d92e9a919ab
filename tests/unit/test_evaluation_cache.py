"""The cache of embeddings by the hash of their photo."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from pgface.errors import LowQualityError, NoFaceError, PhotoError, SeveralFacesError, StorageError, WorkerEndedError
from pgface.evaluation.cache import KEPT_DAYS, EmbeddingCache, delete_cache
from support.sentences import evaluation as says

EMBEDDING = np.full(512, 512**-0.5, np.float32)


def test_an_embedding_is_cached_for_the_way_it_was_made(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "evaluated", ("model", "only"))
    assert cache.get("ab" * 32, "a.jpg") is None
    cache.put("ab" * 32, "a.jpg", EMBEDDING)
    again = EmbeddingCache(tmp_path / "evaluated", ("model", "only")).get("ab" * 32, "a.jpg")
    assert isinstance(again, np.ndarray)
    assert np.array_equal(again, EMBEDDING)
    assert EmbeddingCache(tmp_path / "evaluated", ("other model", "only")).get("ab" * 32, "a.jpg") is None


def test_an_error_is_returned_with_the_present_name_of_the_photo(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "model")
    cache.put("cd" * 32, "a.jpg", NoFaceError("a.jpg: no face was found."))
    found = cache.get("cd" * 32, "b.jpg")
    assert type(found) is NoFaceError
    assert str(found) == "b.jpg: no face was found."


def test_errors_of_a_worker_are_not_cached(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "model")
    cache.put("cd" * 32, "a.jpg", WorkerEndedError())
    assert cache.get("cd" * 32, "a.jpg") is None


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b'{"error": "WorkerEndedError", "reason": ""}', b'{"error": "os", "reason": ""}', bytes(2048)],
)
def test_a_damaged_entry_is_ignored(tmp_path: Path, damage: bytes) -> None:
    cache = EmbeddingCache(tmp_path, "model")
    cache.put("ef" * 32, "a.jpg", EMBEDDING)
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    file.write_bytes(damage)
    assert cache.get("ef" * 32, "a.jpg") is None


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    EmbeddingCache(tmp_path / "evaluated", "model").put("ab" * 32, "a.jpg", EMBEDDING)
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "evaluated", *(tmp_path / "evaluated").rglob("*"))}
    assert modes == {0}


def test_old_entries_are_deleted(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "model")
    for name in ("old", "used", "new"):
        cache.put(name, "a.jpg", EMBEDDING)
    long_ago = time.time() - (KEPT_DAYS + 1) * 86_400
    for file in (path for path in tmp_path.rglob("*") if path.name in ("old", "used")):
        os.utime(file, (long_ago, long_ago))
    assert cache.get("used", "a.jpg") is not None  # reading it keeps it
    again = EmbeddingCache(tmp_path, "another model")
    assert again.get("new", "a.jpg") is None
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["new", "used"]


def test_the_cache_can_be_deleted(tmp_path: Path) -> None:
    EmbeddingCache(tmp_path / "evaluated", "model").put("ab" * 32, "a.jpg", EMBEDDING)
    delete_cache(tmp_path / "evaluated")
    assert not (tmp_path / "evaluated").exists()
    delete_cache(tmp_path / "evaluated")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "evaluated").write_text("a file")
    with pytest.raises(StorageError, match=says.CACHE_CANNOT_BE_WRITTEN.pattern()):
        EmbeddingCache(tmp_path / "evaluated", "model")


def test_only_errors_of_the_face_are_cached(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "model")
    for kind in PhotoError.__subclasses__():
        cache.put(kind.__name__, "a.jpg", kind("a.jpg: why."))
        # Another setting or package may avoid other errors in the next run.
        of_the_face = kind in (NoFaceError, SeveralFacesError, LowQualityError)
        assert type(cache.get(kind.__name__, "a.jpg")) is (kind if of_the_face else type(None))


def test_a_folder_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    (tmp_path / "evaluated").mkdir(mode=0o755)
    EmbeddingCache(tmp_path / "evaluated", "model")
    assert (tmp_path / "evaluated").stat().st_mode & 0o077 == 0
