"""The findings of an audit, compared with what the test put there, and with a comparison of all at once."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pgface.evaluation.audit import audit
from pgface.evaluation.reports.audit_report import ABOUT
from pgface.evaluation.stored_embeddings import StoredEmbeddings, StoredFace
from pgface.faces.engines.base import Quality
from support.evaluated_people import photos
from support.sentences import evaluation as says

GOOD = Quality(110.0, 20.0, 0.5, 5.0, 3.0, 1.0)


def gallery(
    embeddings: NDArray[np.float32], users: list[int], qualities: dict[int, Quality] | None = None
) -> StoredEmbeddings:
    faces = tuple(
        StoredFace(
            name=f"u{user}: photo {row}",
            file=Path(),
            person=f"u{user}@example.org",
            embedding_id=1_000 + row,
            user_id=user,
            photo_id=row,
            quality=(qualities or {}).get(row, GOOD),
        )
        for row, user in enumerate(users)
    )
    return StoredEmbeddings(faces, embeddings, ())


def people(sizes: list[int], noise: float = 0.6) -> tuple[NDArray[np.float32], list[int]]:
    embeddings, owners = photos(sizes, noise=noise)
    order = np.argsort(owners, kind="stable")
    return embeddings[order], [10 + owner for owner in owners[order].tolist()]


def test_a_clean_gallery() -> None:
    embeddings, users = people([3] * 30)
    found = audit(gallery(embeddings, users), verify_threshold=0.3, identify_threshold=0.4)
    assert (found.users, found.embeddings) == (30, 90)
    for name in ABOUT:
        assert getattr(found, name) == ()


def test_one_person_under_two_names() -> None:
    embeddings, _ = people([7, 3, 1])
    named = [10] * 4 + [20] * 3 + [30] * 3 + [40]  # of the first person's seven photos three have another name
    found = audit(gallery(embeddings, named), verify_threshold=0.3, identify_threshold=0.4)
    (same,) = found.same_person
    similarities = embeddings[:4] @ embeddings[4:7].T
    assert (same.first.user_id, same.second.user_id) == (10, 20)
    assert same.similarity == pytest.approx(similarities.max())
    assert same.pairs == (similarities >= 0.4).sum()
    assert same.command == "pgface users merge 20 10"
    assert [single.face.user_id for single in found.single] == [40]


def test_a_photo_of_another_person() -> None:
    embeddings, users = people([4, 4, 4])
    users[0] = users[4]  # a photo of u10 is enrolled for u11
    order = np.argsort(users, kind="stable")
    moved = int(np.flatnonzero(order == 0)[0])
    stored = gallery(embeddings[order], [users[row] for row in order])
    found = audit(stored, verify_threshold=0.3, identify_threshold=0.4)
    (strange,) = found.strange
    assert strange.face is stored.photos[moved]
    assert strange.looks_like is not None
    assert strange.looks_like.user_id == 10
    assert strange.looks_like_similarity > 0.4 > 0.3 > strange.similarity
    assert strange.command == f"pgface photos delete {moved}"
    (dragging,) = found.dragging
    assert dragging.face is stored.photos[moved]
    assert dragging.without > dragging.similarity + 0.02
    (same,) = found.same_person
    assert (same.first.user_id, same.second.user_id) == (10, 11)
    assert same.command == strange.command  # to merge the two for one wrong photo would make it worse


def test_dragging_is_measured_with_the_means() -> None:
    embeddings, _ = people([5])
    embeddings[2] = photos([1], seed=9)[0][0]
    (found,) = audit(gallery(embeddings, [1] * 5), verify_threshold=-1, identify_threshold=0.4).dragging

    def with_the_rest(left_out: set[int]) -> float:
        return float(
            np.mean(
                [
                    embeddings[photo] @ rest / np.linalg.norm(rest)
                    for photo in (0, 1, 3, 4)
                    for rest in (np.delete(embeddings, list(left_out | {photo}), axis=0).sum(axis=0),)
                ]
            )
        )

    assert found.similarity == pytest.approx(with_the_rest(set()), abs=1e-5)
    assert found.without == pytest.approx(with_the_rest({2}), abs=1e-5)


@pytest.mark.parametrize(
    ("quality", "why"),
    [
        (Quality(45, 20, 0.5, 0, 0, 0), says.SMALL_FACE.format(pixels=45)),
        (Quality(100, 1, 0.5, 0, 0, 0), says.BLURRED.format(sharpness=1.0)),
        (Quality(100, 20, 0.1, 0, 0, 0), says.DARK.format(brightness="0.10")),
        (Quality(100, 20, 0.85, 0, 0, 0), says.OVEREXPOSED.format(brightness=0.85)),
        (Quality(100, 20, 0.5, -58, 40, 0), says.TURNED_ASIDE_AND_TILTED.format(yaw=58, pitch=40)),
    ],
)
def test_a_poor_photo(quality: Quality, why: str) -> None:
    embeddings, users = people([2, 2])
    found = audit(gallery(embeddings, users, {1: quality}), verify_threshold=0.3, identify_threshold=0.4)
    assert [(weak.face.photo_id, weak.why) for weak in found.poor] == [(1, why)]


def test_of_what_is_not_known_nothing_is_said() -> None:
    embeddings, users = people([2, 2])
    unknown = Quality(*[math.nan] * 6)
    found = audit(gallery(embeddings, users, {1: unknown}), verify_threshold=0.3, identify_threshold=0.4)
    assert found.poor == ()


def test_blocks_find_what_comparing_everything_at_once_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgface.evaluation.audit._BLOCK_ROWS", 7)
    monkeypatch.setattr("pgface.evaluation.audit._PRODUCT_SIZE", 100)
    embeddings, users = people([1, 2, 3, 9, 20, 4], noise=2.5)
    found = audit(gallery(embeddings, users), verify_threshold=0.2, identify_threshold=0.05)
    similarities = embeddings @ embeddings.T
    whose = np.array(users)
    expected = {}
    for one in range(10, 16):
        for other in range(one + 1, 16):
            between = similarities[np.ix_(whose == one, whose == other)]
            if between.max() >= 0.05:
                expected[one, other] = (round(float(between.max()), 5), int((between >= 0.05).sum()))
    assert {
        (same.first.user_id, same.second.user_id): (round(same.similarity, 5), same.pairs) for same in found.same_person
    } == expected
    most = [same.similarity for same in found.same_person]
    assert most == sorted(most, reverse=True)
    own = np.where((whose[:, np.newaxis] == whose) & ~np.eye(39, dtype=bool), similarities, -2).max(axis=1)
    assert {strange.face.photo_id for strange in found.strange} == set(
        np.flatnonzero((own < 0.2) & (own > -2)).tolist()
    )
    others = np.where(whose[:, np.newaxis] != whose, similarities, -2)
    for strange in found.strange:
        assert strange.face.photo_id is not None
        assert strange.looks_like_similarity == pytest.approx(others[strange.face.photo_id].max(), abs=1e-5)


def test_only_the_most_similar_users_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgface.evaluation.audit._MAX_PAIRS", 5)
    monkeypatch.setattr("pgface.evaluation.audit._BLOCK_ROWS", 7)
    embeddings, users = people([2] * 20)
    found = audit(gallery(embeddings, users), verify_threshold=0.3, identify_threshold=-1)
    similarities = embeddings @ embeddings.T
    whose = np.array(users)
    best = sorted(
        (
            float(similarities[np.ix_(whose == one, whose == other)].max())
            for one in range(10, 30)
            for other in range(one + 1, 30)
        ),
        reverse=True,
    )
    assert [same.similarity for same in found.same_person] == pytest.approx(best[:5], abs=1e-6)
