"""The exact answers of a benchmark, and the agreement of other answers with them."""

from __future__ import annotations

import numpy as np
import pytest

from pgface.operations.bench.answers import ExactAnswers, exact_answers, threshold_at_fpir
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON, Kind, SyntheticPeople

PEOPLE = SyntheticPeople(Kind.CLUSTERED, seed=3)

ANSWERS = ExactAnswers(
    persons=np.array([[4, 7, 1], [2, 3, 9]]),
    similarities=np.array([[0.8, 0.5, 0.41], [0.6, 0.3, 0.1]], dtype=np.float32),
)


@pytest.mark.parametrize("people", [3, 2_000, 4_100])
def test_exact_answers_equal_a_full_sort(people: int) -> None:
    embeddings = PEOPLE.embeddings(people)
    _, probes = PEOPLE.mated_probes(people, 40)
    answers = exact_answers(embeddings, probes)
    best = (probes @ embeddings.T).reshape(40, people, PHOTOS_PER_PERSON).max(axis=2)
    order = np.argsort(-best, axis=1)[:, :10]
    np.testing.assert_array_equal(answers.persons, order)
    np.testing.assert_allclose(answers.similarities, np.take_along_axis(best, order, axis=1), atol=1e-6)


def test_agreement_counts_the_right_person_and_one_who_is_as_similar() -> None:
    assert ANSWERS.agreement([4, 2], [0.8, 0.6]).successes == 2
    assert ANSWERS.agreement([4, 5], [0.8, 0.6]).successes == 2
    assert ANSWERS.agreement([7, 5], [0.5, 0.599]).successes == 0
    none = ANSWERS.agreement([-1, -1], [0.9, 0.9])
    assert (none.successes, none.trials) == (0, 2)


def test_agreement_of_the_first_probes_only() -> None:
    first = ANSWERS.agreement([4], [0.8])
    assert (first.successes, first.trials) == (1, 1)


def test_recall_counts_people_above_the_threshold() -> None:
    recall = ANSWERS.recall(0.4, [{4, 1}, {2, 5}])
    assert (recall.successes, recall.trials) == (3, 4)
    first = ANSWERS.recall(0.4, [{4, 7, 1}])
    assert (first.successes, first.trials) == (3, 3)
    assert ANSWERS.recall(0.9, [set(), set()]).trials == 0


def test_a_person_at_the_threshold_itself_may_be_missing() -> None:
    assert ANSWERS.recall(float(ANSWERS.similarities[1, 0]), [{4}, set()]).successes == 1
    assert ANSWERS.recall(float(ANSWERS.similarities[1, 0]), [{4}, set()]).trials == 1


def test_the_given_share_reaches_the_threshold() -> None:
    strangers = exact_answers(PEOPLE.embeddings(300), PEOPLE.non_mated_probes(1_000))
    threshold = threshold_at_fpir(strangers, 0.01)
    assert strangers.share_above(threshold).value == pytest.approx(0.01, abs=0.003)
