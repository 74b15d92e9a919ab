"""The rates of groups, compared with counted rates."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from pgface.errors import EvaluationError
from pgface.evaluation.embeddings import EmbeddedPhotos, Refusal
from pgface.evaluation.groups import Attributes, check_attributes, differentials, group_rates, read_attributes
from pgface.evaluation.pairwise import compare_all
from pgface.evaluation.photos import LabelledPhoto
from support.evaluated_people import photos
from support.sentences import evaluation as says


def people(sizes: list[int], noise: float, refused: list[str] | None = None) -> EmbeddedPhotos:
    embeddings, owners = photos(sizes, noise=noise)
    order = np.argsort(owners, kind="stable")
    labelled = [
        LabelledPhoto(f"p{owner}/{number}.jpg", Path(f"p{owner}/{number}.jpg"), f"p{owner}")
        for number, owner in enumerate(owners[order].tolist())
    ]
    refusals = tuple(
        Refusal(LabelledPhoto(f"{person}/no.jpg", Path(f"{person}/no.jpg"), person), "NoFaceError", "no face")
        for person in refused or []
    )
    return EmbeddedPhotos(tuple(labelled), embeddings[order], refusals)


def test_rates_of_groups_equal_counted_rates() -> None:
    embedded = people([4] * 20, 3.0, refused=["p0", "p0", "p15", "unknown"])
    values = {f"p{n}": ("a" if n < 12 else "b", "old" if n % 2 else "") for n in range(20)}
    attributes = Attributes("person", ("letter", "age"), values)
    compared = compare_all(embedded.embeddings, embedded.owners)
    groups = group_rates(embedded, compared, attributes, 0.05, 0.12)
    assert [(group.attribute, group.group, group.people, group.photos) for group in groups] == [
        ("letter", "a", 12, 48),
        ("letter", "b", 8, 32),
        ("age", "old", 10, 40),
    ]
    similarities = embedded.embeddings @ embedded.embeddings.T
    owners = embedded.owners
    same = owners[:, np.newaxis] == owners
    above = np.triu(np.ones_like(same), 1)
    others = np.where(same, -2, similarities).max(axis=1)
    own = np.where(same & ~np.eye(80, dtype=bool), similarities, -2).max(axis=1)
    for group, within in ((groups[0], owners < 12), (groups[1], owners >= 12), (groups[2], owners % 2 == 1)):
        both = within[:, np.newaxis] & within & above
        assert group.in_use is not None
        assert group.verification is not None
        assert group.search is not None
        assert group.in_use.fmr == pytest.approx((similarities[both & ~same] >= 0.05).mean(), abs=2e-3)
        assert group.in_use.fnmr == pytest.approx((similarities[both & same] < 0.05).mean(), abs=2e-2)
        assert group.search.fpir == pytest.approx((others[within] >= 0.12).mean(), abs=1e-9)
        missed = int(((own < 0.12) | (own <= others))[within].sum())
        failures = {"a": 2, "b": 1, "old": 1}[group.group]
        assert group.search.fnir == pytest.approx((missed + failures) / (within.sum() + failures))
    assert groups[0].failure_to_enroll_rate == pytest.approx(2 / 50)
    ratios = {(found.attribute, found.rate): found for found in differentials(groups)}
    assert set(ratios) == {("letter", rate) for rate in ("FMR", "FNMR", "FPIR", "FNIR", "FTE")}
    rates = [search.fnir for search in (groups[0].search, groups[1].search) if search is not None]
    found = ratios["letter", "FNIR"]
    assert found.max_to_min == pytest.approx(max(rates) / min(rates))
    assert found.max_to_geometric_mean == pytest.approx(max(rates) / math.sqrt(rates[0] * rates[1]))
    assert found.worst == ("a" if rates[0] > rates[1] else "b")


def test_a_group_without_errors_has_no_ratio() -> None:
    embedded = people([2] * 8, 0.5)
    attributes = Attributes("person", ("letter",), {f"p{n}": ("ab"[n % 2],) for n in range(8)})
    compared = compare_all(embedded.embeddings, embedded.owners)
    found = differentials(group_rates(embedded, compared, attributes, 0.4, 0.4))
    assert {(ratio.rate, ratio.max_to_min, ratio.max_to_geometric_mean) for ratio in found} == {
        (rate, None, None) for rate in ("FMR", "FNMR", "FPIR", "FNIR", "FTE")
    }


def test_a_group_without_pairs_has_no_one_to_one_rates() -> None:
    embedded = people([2, 2, 2, 1], 0.5)
    attributes = Attributes("person", ("letter",), {"p0": ("a",), "p3": ("b",)})
    compared = compare_all(embedded.embeddings, embedded.owners)
    alone, single = group_rates(embedded, compared, attributes, 0.4, 0.4)
    assert alone.verification is None
    assert single.verification is None
    assert single.search is not None
    assert math.isnan(single.search.fnir)
    assert differentials([alone, single])[0].rate == "FPIR"


def test_a_group_without_a_usable_face_is_reported() -> None:
    embedded = people([2, 2, 2], 0.5, refused=["p0", "q", "q"])
    values = {"p0/no.jpg": ("gate",), "q/no.jpg": ("roof",)} | {f"p{n // 2}/{n}.jpg": ("door",) for n in range(6)}
    attributes = Attributes("photo", ("camera",), values)
    compared = compare_all(embedded.embeddings, embedded.owners)
    door, gate, roof = group_rates(embedded, compared, attributes, 0.4, 0.4)
    assert (door.group, door.photos, door.failure_to_enroll_rate) == ("door", 6, 0)
    for group, people_there in ((gate, 1), (roof, 1)):
        assert (group.photos, group.people, group.failure_to_enroll_rate) == (0, people_there, 1)
        assert group.search is None
        assert group.in_use is None


def test_a_photo_without_a_face_is_a_miss_if_the_person_is_enrolled_by_another_camera() -> None:
    embedded = people([3, 3, 3], 0.5, refused=["p0"])
    values = {"p0/no.jpg": ("gate",), "p1/3.jpg": ("gate",)}
    compared = compare_all(embedded.embeddings, embedded.owners)
    (gate,) = group_rates(embedded, compared, Attributes("photo", ("camera",), values), 0.4, 0.4)
    assert gate.search is not None
    assert gate.search.fnir == 0.5


def test_attributes_of_photos(tmp_path: Path) -> None:
    file = tmp_path / "attributes.csv"
    file.write_text("photo,camera\np0/0.jpg,door\np1/1.jpg, gate \n", encoding="utf-8")
    attributes = read_attributes(file)
    embedded = people([1, 2], 0.5)
    check_attributes(file, attributes, embedded.photos)
    assert [attributes.value(photo, 0) for photo in embedded.photos] == ["door", "gate", ""]


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("", says.THE_FIRST_LINE_SHOULD_NAME_THE_COLUMNS.pattern()),
        ("name,age\nAnn,old\n", says.THE_FIRST_LINE_SHOULD_NAME_THE_COLUMNS.pattern()),
        ("person\nAnn\n", says.THE_FIRST_LINE_SHOULD_NAME_THE_COLUMNS.pattern()),
        ("person,age\nAnn\n", says.THE_ROW_HAS_OTHER_COLUMNS.pattern(row=1, columns=1, wanted=2)),
        ("person,age\nAnn,old\nAnn,young\n", says.THE_NAME_HAS_TWO_ROWS.pattern(name="Ann")),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, pattern: str) -> None:
    file = tmp_path / "attributes.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(EvaluationError, match=pattern):
        read_attributes(file)


def test_a_table_with_unknown_people(tmp_path: Path) -> None:
    attributes = Attributes("person", ("age",), dict.fromkeys(("p0", "q1", "q2", "q3", "q4"), ("old",)))
    unknown = says.THE_FOLDER_HAS_NO_SUCH_PERSON.pattern(people="q1, q2, q3", more=1)
    with pytest.raises(EvaluationError, match=unknown):
        check_attributes(tmp_path / "a.csv", attributes, people([1, 2], 0.5).photos)
    with pytest.raises(
        EvaluationError, match=says.THE_TABLE_CANNOT_BE_READ.pattern(reason="No such file or directory")
    ):
        read_attributes(tmp_path / "nowhere.csv")
