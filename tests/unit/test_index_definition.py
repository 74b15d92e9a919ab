"""The definition of an index, the memory that its build needs, and the exact answers of a check."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest

from pgface.errors import GalleryError
from pgface.search.vector_index.definition import METHODS, Definition, advised_lists, advised_probes, define
from pgface.search.vector_index.exact import nearest
from pgface.system.signals import ignore_termination, termination_as_keyboard_interrupt
from support.sentences import search as says

MEBI = 1024 * 1024


@pytest.mark.parametrize(
    ("rows", "lists"), [(0, 100), (10_000, 100), (99_999, 100), (100_000, 316), (200_000, 447), (1_000_000, 1000)]
)
def test_lists_are_by_the_specifications_rule(rows: int, lists: int) -> None:
    assert advised_lists(rows) == lists


def test_probes_are_by_pgvectors_rule() -> None:
    assert [advised_probes(lists) for lists in (1, 2, 100, 316, 1000)] == [1, 1, 10, 17, 31]


def test_options_that_are_not_given_follow_the_defaults_and_the_rule() -> None:
    assert define("exact", 5) is None
    assert define("hnsw", 0) == Definition("hnsw", m=16, ef_construction=64)
    assert define("hnsw", 0, m=48) == Definition("hnsw", m=48, ef_construction=96)
    assert define("ivfflat", 1_000_000) == Definition("ivfflat", lists=1000)
    assert define("ivfflat", 40, lists=40) == Definition("ivfflat", lists=40)


@pytest.mark.parametrize(
    ("method", "options", "sentence"),
    [
        ("faiss", {}, says.UNKNOWN_INDEX.pattern(method="faiss", methods="exact, hnsw, ivfflat")),
        ("hnsw", {"m": 1}, says.NUMBER_OUT_OF_RANGE.pattern(name="m", least=2, most=100, given=1)),
        ("hnsw", {"m": 0}, says.NUMBER_OUT_OF_RANGE.pattern(name="m", least=2, most=100, given=0)),
        (
            "hnsw",
            {"ef_construction": 1001},
            says.NUMBER_OUT_OF_RANGE.pattern(name="ef_construction", least=4, most=1000, given=1001),
        ),
        ("hnsw", {"m": 40, "ef_construction": 79}, says.EF_CONSTRUCTION_TOO_SMALL.pattern(least=80)),
        ("hnsw", {"lists": 5}, says.OPTION_OF_IVFFLAT.pattern()),
        ("ivfflat", {"m": 16}, says.OPTIONS_OF_HNSW.pattern()),
        ("ivfflat", {"lists": 0}, says.NUMBER_OUT_OF_RANGE.pattern(name="lists", least=1, most=32768, given=0)),
        ("ivfflat", {"lists": 5001}, says.FEWER_EMBEDDINGS_THAN_LISTS.pattern(embeddings=5000, lists=5001)),
        ("exact", {"lists": 10}, says.OPTION_OF_IVFFLAT.pattern()),
        ("exact", {"ef_construction": 10}, says.OPTIONS_OF_HNSW.pattern()),
    ],
)
def test_options_that_are_refused(method: str, options: dict[str, int], sentence: str) -> None:
    with pytest.raises(GalleryError, match=sentence):
        define(method, 5000, **options)  # type: ignore[arg-type]


def test_the_statement_names_every_option() -> None:
    def text(definition: Definition) -> str:
        return definition.create("a_name").as_string()

    assert text(Definition("hnsw", m=16, ef_construction=64)) == (
        'CREATE INDEX CONCURRENTLY "a_name" ON face_embeddings USING hnsw (embedding vector_cosine_ops) '
        'WITH ("m" = 16, "ef_construction" = 64)'
    )
    assert text(Definition("ivfflat", lists=100)).endswith(
        'USING ivfflat (embedding vector_cosine_ops) WITH ("lists" = 100)'
    )
    assert METHODS == ("exact", "hnsw", "ivfflat")


def test_memory_is_a_little_more_than_pgvector_needs() -> None:
    # The MB that pgvector 0.8.5 required when it refused 20,000 rows, with 100, 316 and 1,000 lists.
    for lists, required in ((100, 25), (316, 53), (1000, 185)):
        assert (
            required * MEBI <= Definition("ivfflat", lists=lists).memory(20_000) <= (required + 3) * MEBI
            or lists == 1000
        )
    # The rows after which it reported that an HNSW graph no longer fits into 24 MB.
    for m, rows in ((4, 10_521), (16, 9_104), (32, 7_682)):
        needed = Definition("hnsw", m=m, ef_construction=128).memory(rows)
        assert 24 * MEBI <= needed <= 1.2 * 24 * MEBI


def test_exact_answers_equal_a_comparison_with_every_embedding() -> None:
    random = np.random.default_rng(3)
    stored = random.standard_normal((300, 512)).astype(np.float32)
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    users = random.integers(1, 40, 300)  # a user's embeddings are in several blocks
    probes = stored[::30] + 0.02 * random.standard_normal((10, 512)).astype(np.float32)
    probes /= np.linalg.norm(probes, axis=1, keepdims=True)
    blocks = [(users[start : start + 64], stored[start : start + 64]) for start in range(0, 300, 64)]
    found = nearest(blocks, probes, 7)
    similarities = probes @ stored.T
    np.testing.assert_allclose(found.embeddings, -np.sort(-similarities, axis=1)[:, :7], atol=1e-6)
    best = np.stack([similarities[:, users == user].max(axis=1) for user in np.unique(users)], axis=1)
    np.testing.assert_allclose(found.people, -np.sort(-best, axis=1)[:, :7], atol=1e-6)


def test_missing_results_are_filled_with_no_result() -> None:
    stored = np.eye(3, 512, dtype=np.float32)
    found = nearest([(np.array([5, 5, 6]), stored)], stored[:1], 4)
    assert found.embeddings.tolist() == [[1, 0, 0, -2]]
    assert found.people.tolist() == [[1, 0, -2, -2]]
    assert nearest([], stored[:1], 2).people.tolist() == [[-2, -2]]


def test_termination_acts_like_ctrl_c_except_during_clean_up() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with termination_as_keyboard_interrupt():
        with ignore_termination():
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with termination_as_keyboard_interrupt():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_do_not_change_the_signals() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def look() -> None:
        with termination_as_keyboard_interrupt(), ignore_termination():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [before]
