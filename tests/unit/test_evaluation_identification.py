"""The rates of identification (1:N), compared with counted rates."""

from __future__ import annotations

import numpy as np
import pytest

from pgface.evaluation.bootstrap import Replicates
from pgface.evaluation.histogram import index_of
from pgface.evaluation.identification import identification, search_point
from pgface.evaluation.pairwise import compare_all
from support.evaluated_people import photos


def test_rates_equal_counted_rates() -> None:
    embeddings, people = photos([1, 1, 1, *[4] * 30], noise=3.0)
    compared = compare_all(embeddings, people)
    failures = np.zeros(33, np.int64)
    failures[[5, 7]] = 4, 2
    rates = identification(compared, Replicates.draw(33), failures=failures)
    similarities = embeddings @ embeddings.T
    np.fill_diagonal(similarities, -2)
    same = people[:, np.newaxis] == people
    own, others = np.where(same, similarities, -2).max(axis=1), np.where(same, -2, similarities).max(axis=1)
    mated = own > -2
    assert (rates.mated_searches, rates.non_mated_searches, rates.failures) == (126, 123, 6)
    assert rates.gallery_people == 32
    for threshold in (0.0, 0.1, 0.2):
        place = index_of(threshold)
        assert rates.fpir[place] == pytest.approx(
            (others >= threshold).mean(), abs=0.009
        )  # a similarity may be on the edge of a bin
        right = mated & (own > others) & (own >= threshold)
        assert rates.fnir[place] == pytest.approx(1 - right.sum() / 126, abs=0.009)
    assert rates.cumulative_match[0] == pytest.approx((mated & (own > others)).sum() / 126, abs=0.009)
    assert (np.diff(rates.cumulative_match) >= 0).all()
    assert rates.cumulative_match[-1] <= 120 / 126  # a photo without a face finds no one


def test_intervals_at_a_threshold() -> None:
    compared = compare_all(*photos([4] * 30, noise=3.0))
    point = search_point(compared, Replicates.draw(30), 0.1)
    assert 0 < point.fpir_interval.low < point.fpir < point.fpir_interval.high < 1
    assert 0 < point.fnir_interval.low < point.fnir < point.fnir_interval.high < 1


def test_intervals_of_the_cumulative_match_contain_the_shares() -> None:
    compared = compare_all(*photos([4] * 30, noise=3.5))
    failures = np.zeros(30, np.int64)
    failures[3] = 2
    rates = identification(compared, Replicates.draw(30), failures=failures)
    for share, interval in zip(rates.cumulative_match, rates.cumulative_match_intervals, strict=True):
        assert 0 < interval.low < share < interval.high <= 1
    lows = [interval.low for interval in rates.cumulative_match_intervals]
    assert lows == sorted(lows)
    assert lows[0] < lows[-1]


def test_without_a_miss_the_rule_of_three_gives_the_lower_limit() -> None:
    rates = identification(compare_all(*photos([3] * 30, noise=0.3)), Replicates.draw(30, count=50))
    assert rates.cumulative_match[0] == 1
    assert [*rates.cumulative_match_intervals[0]] == [1 - 3 / 30, 1]
