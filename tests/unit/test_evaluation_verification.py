"""The rates of verification (1:1), compared with scikit-learn, a case worked by hand and a simulation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pgface.evaluation.bootstrap import Interval, Replicates
from pgface.evaluation.histogram import index_of
from pgface.evaluation.pairwise import Comparisons, compare_all
from pgface.evaluation.verification import operating_points, verification
from support.evaluated_people import photos

pytestmark = pytest.mark.slow


def compared_people(sizes: list[int], *, noise: float = 1.0, seed: int = 0) -> Comparisons:
    return compare_all(*photos(sizes, noise=noise, seed=seed))


def test_rates_equal_those_of_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score, roc_curve  # here, because it takes a second

    embeddings, people = photos([4] * 60, noise=3.5)
    found = verification(compare_all(embeddings, people), Replicates.draw(60, count=10))
    one, other = np.triu_indices(len(people), 1)
    labels, scores = people[one] == people[other], np.einsum("ij,ij->i", embeddings[one], embeddings[other])
    false_matches, matches, at = roc_curve(labels, scores, drop_intermediate=False)
    for threshold in np.linspace(-0.15, 0.3, 50).round(4).tolist():
        place = int(np.searchsorted(-at, -threshold, side="right")) - 1
        assert found.fmr[index_of(threshold)] == pytest.approx(false_matches[place], abs=1e-4)
        assert found.fnmr[index_of(threshold)] == pytest.approx(1 - matches[place], abs=0.003)  # one of 360 pairs
    assert found.area_under_curve == pytest.approx(roc_auc_score(labels, scores), abs=1e-4)
    crossing = int(np.argmin(np.abs(1 - matches - false_matches)))
    assert found.equal_error_rate == pytest.approx((1 - matches + false_matches)[crossing] / 2, abs=0.003)
    assert found.best_accuracy == pytest.approx(1 - (1 - matches + false_matches).min() / 2, abs=0.003)
    assert 0.1 < found.equal_error_rate < 0.4


def test_a_case_worked_by_hand() -> None:
    # Two people with two photos each, in a plane. Angles are in degrees.
    angles = np.radians([0, 40, 60, 130])
    embeddings = np.zeros((4, 512), dtype=np.float32)
    embeddings[:, 0], embeddings[:, 1] = np.cos(angles), np.sin(angles)
    found = verification(compare_all(embeddings, np.array([0, 0, 1, 1])), Replicates.draw(2, count=10))
    # Mated: 40 and 70 degrees apart, cosines 0.7660 and 0.3420. Non-mated: 60, 130, 20, 90: 0.5, -0.6428, 0.9397, 0.
    assert (found.mated_pairs, found.non_mated_pairs) == (2, 4)
    assert found.fmr[[index_of(t) for t in (-0.7, -0.5, 0.1, 0.6, 0.94)]].tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert found.fnmr[[index_of(t) for t in (0.3, 0.4, 0.8)]].tolist() == [0, 0.5, 1]
    assert found.area_under_curve == 5 / 8  # 0.7660 is above three of the four, 0.3420 above two
    assert found.best_accuracy == 0.75  # at 0.3420, both mated pairs and two of four non-mated pairs match
    assert found.equal_error_rate == 0.5


def test_a_target_needs_thirty_errors() -> None:
    found = verification(compared_people([5] * 40), Replicates.draw(40, count=50))
    pairs = 40 * 39 // 2 * 25  # 19,500 pairs have 30 errors at 1e-2, but not at 1e-3
    assert found.non_mated_pairs == pairs
    known, *unknown = found.targets
    assert known.point is not None
    assert known.more_pairs_needed == 0
    assert known.point.fmr <= 0.01 < found.fmr[index_of(known.point.threshold) - 1]
    assert known.point.fmr_interval.low < known.point.fmr < known.point.fmr_interval.high
    assert [(target.target, target.point) for target in unknown] == [
        (1e-3, None),
        (1e-4, None),
        (1e-5, None),
        (1e-6, None),
    ]
    assert [target.more_pairs_needed for target in unknown] == [
        30_000 - pairs, 300_000 - pairs, 3_000_000 - pairs, 30_000_000 - pairs
    ]  # fmt: skip


def test_without_an_error_the_rule_of_three_limits_the_rate() -> None:
    compared = compared_people([2] * 30, noise=0.3)
    (point,) = operating_points(compared, Replicates.draw(30, count=50), np.array([0.5]))
    assert point.fmr == point.fnmr == 0
    few = compared_people([2] * 4, noise=0.3)  # 24 non-mated pairs
    (of_few,) = operating_points(few, Replicates.draw(4, count=50), np.array([0.9]))
    assert [*of_few.fmr_interval] == [0, 1]
    # The limit is at most that of a threshold with 30 errors among 1,740 pairs.
    at = np.sort(compared.non_mated_sample.similarities)[-30:][:1].astype(float)
    (counted,) = operating_points(compared, Replicates.draw(30, count=50), np.floor(at * 1e4) / 1e4)
    assert counted.fmr == pytest.approx(30 / 1_740, abs=1e-3)
    assert point.fmr_interval.low == 0
    assert point.fmr_interval.high == pytest.approx(counted.fmr_interval.high, rel=0.1)
    assert [*point.fnmr_interval] == [0, 3 / 30]
    found = verification(compared, Replicates.draw(30, count=50))
    assert (found.equal_error_rate, found.area_under_curve, found.best_accuracy) == (0, 1, 1)
    assert [*found.equal_error_interval] == [0, 3 / 30]
    assert [*found.area_interval] == [*found.best_accuracy_interval] == [1 - 3 / 30, 1]


def test_intervals_contain_the_true_rate_as_often_as_promised() -> None:
    threshold = np.array([0.12])
    true = _rates(_hard_people(1_000, seed=10_000), threshold, Replicates.draw(1_000, count=2))
    covered = dict.fromkeys(true, 0)
    naive = 0
    runs = 120
    for seed in range(runs):
        compared = _hard_people(40, seed)
        found = _rates(compared, threshold, Replicates.draw(40, count=200, seed=seed))
        for name, (_, interval) in found.items():
            covered[name] += interval.low <= true[name][0] <= interval.high
        fnmr = found["FNMR"][0]
        half = 1.96 * np.sqrt(fnmr * (1 - fnmr) / compared.mated.total)
        naive += abs(fnmr - true["FNMR"][0]) <= half
    # The promise is 95 %. With 40 people, a bootstrap reaches 86 to 94 %. Treating pairs as independent reaches less.
    assert {name: count / runs > 0.82 for name, count in covered.items()} == dict.fromkeys(covered, True)
    assert naive < covered["FNMR"]


def _rates(
    compared: Comparisons, threshold: NDArray[np.float64], replicates: Replicates
) -> dict[str, tuple[float, Interval]]:
    (point,) = operating_points(compared, replicates, threshold)
    found = verification(compared, replicates)
    return {
        "FMR": (point.fmr, point.fmr_interval),
        "FNMR": (point.fnmr, point.fnmr_interval),
        "EER": (found.equal_error_rate, found.equal_error_interval),
        "area": (found.area_under_curve, found.area_interval),
        "accuracy": (found.best_accuracy, found.best_accuracy_interval),
    }


def _hard_people(people: int, seed: int) -> Comparisons:
    """Compare photos as of a poor model. They share a direction, and differ more for some people than for others."""
    random = np.random.default_rng(seed)
    owners = np.repeat(np.arange(people), 4)
    directions = random.standard_normal((people, 512)) + 0.3 * random.standard_normal((people, 1)) * np.ones(512)
    spread = np.exp(0.5 * random.standard_normal((people, 1)))
    embeddings = directions[owners] + 2.2 * spread[owners] * random.standard_normal((len(owners), 512))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return compare_all(embeddings.astype(np.float32), owners)
