"""Synthetic people are the same for the same seed, and as similar as real people."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON, Kind, SyntheticPeople

PEOPLE = 2_500
"""More than one batch."""

both_kinds = pytest.mark.parametrize("kind", Kind)


def by_person(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    return embeddings.reshape(-1, PHOTOS_PER_PERSON, embeddings.shape[1])


@both_kinds
def test_similarities_are_distributed_like_those_of_real_faces(kind: Kind) -> None:
    photos = by_person(SyntheticPeople(kind).embeddings(PEOPLE))
    genuine = np.sum(photos[:, 0] * photos[:, 1], axis=1)
    assert genuine.mean() == pytest.approx(0.59, abs=0.01)
    assert np.percentile(genuine, 5) == pytest.approx(0.44, abs=0.02)
    impostors = photos[:1200, 0] @ photos[1200:, 1].T
    assert np.percentile(impostors, 99.9) == pytest.approx(0.13 if kind is Kind.ISOTROPIC else 0.25, abs=0.02)


@both_kinds
def test_the_same_seed_gives_the_same_people(kind: Kind) -> None:
    people = SyntheticPeople(kind, seed=5)
    embeddings = people.embeddings(PEOPLE)
    assert embeddings.dtype == np.float32
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(SyntheticPeople(kind, seed=5).embeddings(PEOPLE), embeddings)
    assert np.abs(SyntheticPeople(kind, seed=6).embeddings(100) - embeddings[:500]).max() > 0.01
    np.testing.assert_array_equal(people.non_mated_probes(20), people.non_mated_probes(20))


@both_kinds
def test_a_smaller_gallery_is_a_prefix_of_a_larger_one(kind: Kind) -> None:
    people = SyntheticPeople(kind)
    larger = people.embeddings(PEOPLE)
    for size in (7, 2_000, 2_100):
        # The rounding of a matrix product depends on its size.
        np.testing.assert_allclose(people.embeddings(size), larger[: size * PHOTOS_PER_PERSON], atol=1e-6)


@both_kinds
def test_mated_probes_are_further_photos_of_enrolled_people(kind: Kind) -> None:
    people = SyntheticPeople(kind)
    photos = by_person(people.embeddings(PEOPLE))
    persons, probes = people.mated_probes(PEOPLE, 500)
    assert len(set(persons.tolist())) == 500
    assert persons.max() >= 2_000
    similarities = np.einsum("npd,nd->np", photos[persons], probes)
    assert similarities.mean() == pytest.approx(0.59, abs=0.02)
    assert similarities.max() < 0.95, "a probe is an enrolled photo"
    assert not np.all(np.diff(persons) > 0), "the probes are in the order of enrollment"
    _, others = people.mated_probes(PEOPLE, 500, series=1)
    assert np.abs(probes[0] @ others.T).max() < 0.95


def test_there_may_be_more_mated_probes_than_people() -> None:
    persons, probes = SyntheticPeople(Kind.CLUSTERED).mated_probes(10, 100)
    assert probes.shape == (100, 512)
    assert set(persons.tolist()) == set(range(10))
    assert (probes @ probes.T - np.eye(100)).max() < 0.95, "two probes are the same photo"


@both_kinds
def test_non_mated_probes_are_not_of_enrolled_people(kind: Kind) -> None:
    people = SyntheticPeople(kind)
    enrolled = people.embeddings(PEOPLE)
    strangers = people.non_mated_probes(500)
    assert (strangers @ enrolled.T).max() < 0.55
    others = people.non_mated_probes(500, first=10_000_000)
    assert (strangers @ others.T).max() < 0.55
