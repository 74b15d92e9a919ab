"""Comparing every photo with every other, compared with the whole matrix of similarities."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pgface.errors import EvaluationError
from pgface.evaluation import pairwise
from pgface.evaluation.histogram import BINS, ScoreHistogram, index_of, thresholds
from pgface.evaluation.pairwise import Pairs, compare_all
from support.evaluated_people import photos
from support.sentences import Sentence
from support.sentences import evaluation as says

SIZES = [1, 5, 2, 9, 1, 1, 3, 4, 2, 1, 6]


def matrix(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(embeddings @ embeddings.T, dtype=np.float32)


def assert_counts_are_near(found: ScoreHistogram, similarities: NDArray[np.float32]) -> None:
    """Allow for one similarity on the edge of a bin, because rounding depends on the block."""
    expected = ScoreHistogram.of(similarities)
    assert found.total == expected.total
    assert np.abs(found.below() - expected.below()).max() <= 1


def rows(pairs: Pairs) -> set[tuple[int, int]]:
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


@pytest.mark.parametrize(
    ("block_photos", "product_size"), [(1_024, 8_000_000), (5, 8_000_000), (5, 1), (1, 20), (100, 200)]
)
def test_blocks_find_the_same_as_the_whole_matrix(
    block_photos: int, product_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairwise, "_BLOCK_PHOTOS", block_photos)
    monkeypatch.setattr(pairwise, "_PRODUCT_SIZE", product_size)
    embeddings, people = photos(SIZES)
    labels = people * 7 + 3  # the numbers of people may have gaps
    compared = compare_all(embeddings, labels)
    similarities = matrix(embeddings)
    one, other = np.triu_indices(len(people), 1)
    mated = people[one] == people[other]
    assert_counts_are_near(compared.mated, similarities[one, other][mated])
    assert_counts_are_near(compared.non_mated, similarities[one, other][~mated])
    assert rows(compared.mated_sample) == set(zip(one[mated].tolist(), other[mated].tolist(), strict=True))
    non_mated = set(zip(one[~mated].tolist(), other[~mated].tolist(), strict=True))
    assert rows(compared.non_mated_sample) == rows(compared.nearest_non_mated) == non_mated

    np.fill_diagonal(similarities, np.nan)
    same = people[:, np.newaxis] == people
    for photo in range(len(people)):
        own = similarities[photo][same[photo]]
        others = [similarities[photo][people == person].max() for person in set(people.tolist()) - {people[photo]}]
        assert compared.best_non_mated[photo] == pytest.approx(max(others), abs=1e-6)
        if len(own) == 1:
            assert np.isnan(compared.best_mated[photo])
            assert compared.ranks[photo] == 0
        else:
            assert compared.best_mated[photo] == pytest.approx(np.nanmax(own), abs=1e-6)
            assert compared.ranks[photo] == 1 + sum(other > np.nanmax(own) for other in others)


def test_the_nearest_pairs_and_a_sample_of_many_pairs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairwise, "KEPT_PAIRS", 500)
    embeddings, people = photos([8] * 40)
    compared = compare_all(embeddings, people)
    similarities = matrix(embeddings)
    one, other = np.triu_indices(len(people), 1)
    mated = people[one] == people[other]
    values = similarities[one, other]
    near = ~mated & (values >= compared.nearest_from)
    assert rows(compared.nearest_non_mated) == set(zip(one[near].tolist(), other[near].tolist(), strict=True))
    assert 250 < len(compared.nearest_non_mated) < 1_000
    assert len(compared.non_mated_sample) == 500
    assert 400 < len(compared.mated_sample) < 600
    for sample, kind in ((compared.mated_sample, mated), (compared.non_mated_sample, ~mated)):
        assert ((people[sample.first] == people[sample.second]) == (kind is mated)).all()
        assert np.allclose(sample.similarities, similarities[sample.first, sample.second], atol=1e-6)
        assert sample.similarities.mean() == pytest.approx(values[kind].mean(), abs=0.01)
    assert compared.mated.total == mated.sum()


def test_one_person_with_nearly_all_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairwise, "_BLOCK_PHOTOS", 16)
    monkeypatch.setattr(pairwise, "_PRODUCT_SIZE", 2_000)
    embeddings, people = photos([900, 1, 1])
    compared = compare_all(embeddings, people)
    assert (compared.mated.total, compared.non_mated.total) == (900 * 899 // 2, 1_801)
    assert len(compared.non_mated_sample) == 1_801
    assert (compared.ranks[people == 0] == 1).all()


@pytest.mark.parametrize(
    ("people", "sentence"),
    [
        ([0, 0, 0], says.THERE_IS_ONLY_ONE_PERSON),
        ([0, 1, 2], says.EVERY_PERSON_HAS_ONLY_ONE_PHOTO),
        ([], says.THERE_IS_ONLY_ONE_PERSON),
    ],
)
def test_what_cannot_be_compared(people: list[int], sentence: Sentence) -> None:
    embeddings = np.eye(max(len(people), 1), 512, dtype=np.float32)[: len(people)]
    with pytest.raises(EvaluationError, match=sentence.pattern()):
        compare_all(embeddings, np.array(people, dtype=np.int64))


def test_thresholds_are_edges_of_bins() -> None:
    assert len(thresholds()) == BINS + 1
    assert thresholds()[index_of(0.3)] == 0.3
    assert thresholds()[index_of(0.30001)] == 0.3001
    assert (index_of(-1), index_of(1), index_of(2)) == (0, BINS, BINS)
    histogram = ScoreHistogram.of(np.array([-1.0000001, 0.25, 0.3, 0.30005, 1.0000001], dtype=np.float32))
    assert histogram.at_or_above()[[0, index_of(0.26), index_of(0.3001), BINS]].tolist() == [5, 3, 1, 0]
    assert histogram.below()[[0, index_of(0.26), BINS]].tolist() == [0, 2, 5]
