"""Audits, compared with problems that the tests create, and with the whole matrix of similarities."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pgface.evaluation.audit_gallery import audit
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


def test_two_users_who_look_like_one_person() -> None:
    embeddings, _ = people([7, 3, 1])
    named = [10] * 4 + [20] * 3 + [30] * 3 + [40]  # three of the first person's seven photos have another name
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
    assert same.command == strange.command  # merging the users because of one wrong photo would be worse


def test_similarities_of_a_dragging_photo_are_those_to_the_means() -> None:
    embeddings, _ = people([5])
    embeddings[2] = photos([1], seed=9)[0][0]
    (found,) = audit(gallery(embeddings, [1] * 5), verify_threshold=-1, identify_threshold=0.4).dragging

    def mean_similarity_to_the_rest(left_out: set[int]) -> float:
        return float(
            np.mean(
                [
                    embeddings[photo] @ rest / np.linalg.norm(rest)
                    for photo in (0, 1, 3, 4)
                    for rest in (np.delete(embeddings, list(left_out | {photo}), axis=0).sum(axis=0),)
                ]
            )
        )

    assert found.similarity == pytest.approx(mean_similarity_to_the_rest(set()), abs=1e-5)
    assert found.without == pytest.approx(mean_similarity_to_the_rest({2}), abs=1e-5)


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


def test_unknown_quality_is_not_poor() -> None:
    embeddings, users = people([2, 2])
    unknown = Quality(*[math.nan] * 6)
    found = audit(gallery(embeddings, users, {1: unknown}), verify_threshold=0.3, identify_threshold=0.4)
    assert found.poor == ()


def test_blocks_find_the_same_as_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgface.evaluation.audit_gallery._BLOCK_ROWS", 7)
    monkeypatch.setattr("pgface.evaluation.audit_gallery._PRODUCT_SIZE", 100)
    embeddings, users = people([1, 2, 3, 9, 20, 4], noise=2.5)
    found = audit(gallery(embeddings, users), verify_threshold=0.2, identify_threshold=0.05)
    similarities = embeddings @ embeddings.T
    owners = np.array(users)
    expected = {}
    for one in range(10, 16):
        for other in range(one + 1, 16):
            between = similarities[np.ix_(owners == one, owners == other)]
            if between.max() >= 0.05:
                expected[one, other] = (round(float(between.max()), 5), int((between >= 0.05).sum()))
    assert {
        (same.first.user_id, same.second.user_id): (round(same.similarity, 5), same.pairs) for same in found.same_person
    } == expected
    most = [same.similarity for same in found.same_person]
    assert most == sorted(most, reverse=True)
    own = np.where((owners[:, np.newaxis] == owners) & ~np.eye(39, dtype=bool), similarities, -2).max(axis=1)
    assert {strange.face.photo_id for strange in found.strange} == set(
        np.flatnonzero((own < 0.2) & (own > -2)).tolist()
    )
    others = np.where(owners[:, np.newaxis] != owners, similarities, -2)
    for strange in found.strange:
        assert strange.face.photo_id is not None
        assert strange.looks_like_similarity == pytest.approx(others[strange.face.photo_id].max(), abs=1e-5)


def test_an_embedding_without_a_photo_is_deleted_by_sql_in_the_schema_of_the_gallery() -> None:
    embeddings = np.eye(2, 512, dtype=np.float32)
    stored = gallery(embeddings, [1, 1])
    without_photos = replace(stored, photos=tuple(replace(face, photo_id=None) for face in stored.photos))
    found = audit(without_photos, verify_threshold=0.3, identify_threshold=0.4, schema='of "us"')
    assert [strange.command for strange in found.strange] == [
        f'DELETE FROM "of ""us""".face_embeddings WHERE id = {number}; -- in psql' for number in (1_000, 1_001)
    ]


def test_only_the_most_similar_users_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgface.evaluation.audit_gallery._MAX_PAIRS", 5)
    monkeypatch.setattr("pgface.evaluation.audit_gallery._BLOCK_ROWS", 7)
    embeddings, users = people([2] * 20)
    found = audit(gallery(embeddings, users), verify_threshold=0.3, identify_threshold=-1)
    similarities = embeddings @ embeddings.T
    owners = np.array(users)
    best = sorted(
        (
            float(similarities[np.ix_(owners == one, owners == other)].max())
            for one in range(10, 30)
            for other in range(one + 1, 30)
        ),
        reverse=True,
    )
    assert [same.similarity for same in found.same_person] == pytest.approx(best[:5], abs=1e-6)
