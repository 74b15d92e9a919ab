"""Thresholds for rare errors, with distributions whose tail is known."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from pgface.errors import EvaluationError
from pgface.evaluation.bootstrap import Replicates
from pgface.evaluation.extreme_value import TAIL_REACH, NonMatedTrials, _widening
from pgface.evaluation.histogram import ScoreHistogram
from pgface.evaluation.pairwise import compare_all
from pgface.thresholds import Tail, fpir_of, rate_of_each
from support.evaluated_people import photos
from support.sentences import evaluation as says

pytestmark = pytest.mark.slow

PEOPLE = 400


def trials(similarities: NDArray[np.float64], seed: int = 0) -> NonMatedTrials:
    """Return trials with these similarities, between random people."""
    random = np.random.default_rng(seed)
    people = random.integers(0, PEOPLE, (2, len(similarities)))
    replicates = Replicates.draw(PEOPLE, count=100, seed=seed)
    totals = (replicates.weights[:, people[0]] * replicates.weights[:, people[1]]).sum(axis=1).astype(float)
    kept = -np.sort(-similarities.astype(np.float32))
    return NonMatedTrials(ScoreHistogram.of(kept), kept, people[0], people[1], totals, replicates.weights)


def exponential(count: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).exponential(0.04, count)


def test_an_exponential_tail_is_extrapolated() -> None:
    found = [trials(exponential(40_000, seed), seed).estimate(1e-5) for seed in range(20)]
    assert all(estimate.extrapolated for estimate in found)
    true = -0.04 * math.log(1e-5)
    rates = np.exp(-np.array([estimate.likely for estimate in found]) / 0.04)
    assert np.median(rates) < 2e-5
    assert abs(np.mean([estimate.likely for estimate in found]) - true) < 0.03
    covered = sum(e.interval.low <= true <= e.threshold for e in found)
    assert covered >= 16


def test_the_rate_of_a_normal_tail_is_not_underestimated() -> None:
    for seed in range(10):
        similarities = np.random.default_rng(seed).normal(0.01, 0.0745, 40_000)
        threshold = trials(similarities, seed).estimate(1e-5).likely
        true_rate = 1 - NormalDist(0.01, 0.0745).cdf(threshold)
        assert true_rate <= 1.5e-5


def test_the_shape_of_a_heavy_tail_is_fitted() -> None:
    random = np.random.default_rng(1)
    heavy = 0.1 + 0.02 * ((1 - random.random(40_000)) ** -0.25 - 1) / 0.25  # generalised Pareto of shape 0.25
    tail = trials(heavy).tail()
    assert tail.shape == pytest.approx(0.25, abs=0.1)
    assert tail.threshold(1e-4) == pytest.approx(0.1 + 0.02 * (1e-4**-0.25 - 1) / 0.25, rel=0.25)


def test_a_rate_with_enough_errors_is_counted() -> None:
    similarities = exponential(100_000, 3)
    found = trials(similarities).estimate(1e-3)
    assert not found.extrapolated
    assert (similarities >= found.likely).mean() <= 1e-3
    assert (similarities >= found.likely - 1e-4).mean() > 1e-3  # it is the lowest threshold of four decimal places
    assert found.interval.low < -0.04 * math.log(1e-3) < found.interval.high <= found.threshold
    assert found.rate < 1e-3
    assert found.rate_interval.low < math.exp(-found.threshold / 0.04) < found.rate_interval.high


def test_a_high_rate_is_counted_even_if_not_all_of_its_trials_are_kept() -> None:
    similarities = exponential(100_000, 6)
    whole = trials(similarities)
    some = replace(
        whole, similarities=whole.similarities[:2_000], first=whole.first[:2_000], second=whole.second[:2_000]
    )
    of_all, of_some = whole.estimate(0.1), some.estimate(0.1)
    assert of_some.likely == pytest.approx(of_all.likely, abs=1e-4)
    assert of_some.threshold == pytest.approx(of_all.threshold, abs=0.02)
    assert of_some.rate == pytest.approx(0.1, abs=0.02)
    assert of_some.rate_interval.low < of_some.rate < of_some.rate_interval.high
    assert not of_some.extrapolated


def test_replicates_without_a_trial_are_left_out() -> None:
    compared = compare_all(*photos([40, 40], noise=2.0))
    found = NonMatedTrials.of_searches(compared, Replicates.draw(2, count=100))
    assert 20 < len(found.weighted_totals) < 80  # about half of the replicates have only one of the two people
    assert (found.weighted_totals > 0).all()


def test_few_people_make_the_interval_wider() -> None:
    few, many = _widening(5), _widening(500)
    assert few == pytest.approx(2.776 / 1.96 * math.sqrt(5 / 4), rel=0.01)  # Student's t of four degrees of freedom
    assert many == pytest.approx(1, abs=0.005)


def test_too_few_trials_for_a_rate_are_an_error() -> None:
    few = trials(exponential(2_000, 4))
    least = 30 / 2_000 / TAIL_REACH
    few.estimate(least * 1.01)
    too_few = says.TOO_FEW_COMPARISONS
    too_rare = too_few.pattern(comparisons="2,000", wanted="6,734")
    sufficient = says.RATE_THAT_THE_COMPARISONS_SUFFICE_FOR.pattern(trials="6,667")
    with pytest.raises(EvaluationError, match=f"{too_rare}, .* {sufficient}"):
        few.estimate(least * 0.99)
    with pytest.raises(EvaluationError, match=too_few.pattern(comparisons=40, wanted=2)):
        trials(exponential(40, 5)).estimate(0.5)


def test_the_threshold_of_a_tail_is_the_inverse_of_its_rate() -> None:
    for shape in (0.0, 0.2):
        tail = Tail(0.2, 0.05, 0.03, shape)
        for rate in (0.05, 1e-3, 1e-5):
            assert tail.rate(tail.threshold(rate)) == pytest.approx(rate)
        assert tail.threshold(0.5) == 0.2
    assert Tail(0.2, 0.05, 0.3, 0.5).threshold(1e-9) == 1.0


@pytest.mark.parametrize("people", [1, 10, 1_000_000])
def test_the_fpir_comes_from_the_rate_of_each_person(people: int) -> None:
    assert fpir_of(rate_of_each(0.01, people), people) == pytest.approx(0.01)
    assert 1 - (1 - rate_of_each(0.01, people)) ** people == pytest.approx(0.01, rel=1e-3)


def test_searches_compare_each_photo_with_each_other_person_once() -> None:
    embeddings, people = photos([3] * 20, noise=2.0)
    compared = compare_all(embeddings, people)
    found = NonMatedTrials.of_searches(compared, Replicates.draw(20, count=50))
    similarities = embeddings @ embeddings.T
    nearest = [
        similarities[probe, people == person].max()
        for probe in range(60)
        for person in range(20)
        if people[probe] != person
    ]
    assert found.total == len(nearest) == 60 * 19
    assert np.abs(found.counts.below() - ScoreHistogram.of(np.array(nearest, np.float32)).below()).max() <= 1
    assert np.allclose(found.similarities, -np.sort(-np.array(nearest)), atol=1e-6)
    weights = found.weights[7]
    expected = sum(weights[people[probe]] * weights[person] for probe in range(60) for person in range(20)
                   if people[probe] != person)  # fmt: skip
    assert found.weighted_totals[7] == pytest.approx(expected)


def test_the_threshold_for_more_people_holds_for_them() -> None:
    # The threshold for a gallery of 1,000 people is found with 150 people, and checked with 1,000 others.
    embeddings, people = photos([3] * 1_150, noise=2.0, seed=2)
    within = people < 150
    compared = compare_all(embeddings[within], people[within])
    found = NonMatedTrials.of_searches(compared, Replicates.draw(150)).estimate(rate_of_each(0.05, 999))
    others = compare_all(embeddings[~within], people[~within])
    assert (others.best_non_mated >= found.threshold).mean() <= 0.05
    # The threshold is a little too high, because the true tail is normal, which is lighter than an exponential one.
    assert found.threshold - np.quantile(others.best_non_mated, 0.95) < 0.05
