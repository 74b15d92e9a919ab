"""People with an external id, labels and metadata: storing, finding, changing, merging and deleting them."""

from __future__ import annotations

import pytest
from psycopg import Connection

from pgface import ExternalId
from pgface.errors import DuplicateExternalIdError, GalleryError, UnknownUserError
from pgface.evaluation.stored_embeddings import stored_embeddings
from pgface.gallery import Gallery
from support.galleries import axis, between, rows
from support.photos import Photos
from support.sentences import gallery as says

pytestmark = pytest.mark.slow

METADATA = {"room": 12, "badge": {"issued": "2026-05-04", "levels": [1, 2.5, None, True]}, "note": "é😀"}


def test_what_is_stored_comes_back(gallery: Gallery) -> None:
    added = gallery.add_user("a@example.org", external_id="emp-17", labels=["staff", "night shift"], metadata=METADATA)
    assert (added.external_id, added.labels, added.metadata) == ("emp-17", ("night shift", "staff"), METADATA)
    assert gallery.user("a@example.org") == gallery.user(ExternalId("emp-17")) == gallery.users()[0] == added
    tiny = {"a": [5e-324] * 24, "b": 2**53 - 1, "c": 0.1, "d": 1e-7, "e": 1.0}
    full = {"a": "é" * 4_091}
    for metadata in (tiny, full, {}):
        gallery.update_user(added.id, metadata=metadata)
        assert gallery.user(added.id).metadata == metadata
    assert gallery.user(added.id).to_json()["labels"] == ["night shift", "staff"]


def test_an_external_id_is_unique_and_exact(gallery: Gallery) -> None:
    first = gallery.add_user("a@example.org", external_id="emp-17")
    other = gallery.add_user("b@example.org", external_id="EMP-17")
    with pytest.raises(DuplicateExternalIdError, match=says.EXTERNAL_ID_IS_TAKEN.pattern()):
        gallery.add_user("c@example.org", external_id="emp-17")
    with pytest.raises(DuplicateExternalIdError):
        gallery.update_user(other.id, external_id="emp-17")
    assert [user.email for user in gallery.users()] == ["a@example.org", "b@example.org"]
    assert gallery.update_user(first.id, external_id="emp-17") == first
    assert gallery.update_user(first.id, external_id="").external_id is None
    assert gallery.update_user(other.id, external_id="emp-17").external_id == "emp-17"
    for unknown in ("EMP-17", "emp-17 ", "\0", "\ud800"):
        with pytest.raises(UnknownUserError):
            gallery.user(ExternalId(unknown))
    with pytest.raises(UnknownUserError, match=says.NO_USER_WITH_EXTERNAL_ID.pattern(external_id="x")):
        gallery.erase_user(ExternalId("x"))


def test_a_change_leaves_what_is_not_given(gallery: Gallery) -> None:
    added = gallery.add_user("a@example.org", "Alice", external_id="1", labels=["x"], metadata={"k": 1})
    changed = gallery.update_user(added.id, name=" Alice  B ")
    assert (changed.name, changed.external_id, changed.labels, changed.metadata) == ("Alice  B", "1", ("x",), {"k": 1})
    assert gallery.update_user(ExternalId("1"), labels=[]).labels == ()
    assert gallery.user(added.id) == gallery.update_user(added.id)
    with pytest.raises(GalleryError):
        gallery.update_user(added.id, name="Bob", labels=[""])
    assert gallery.user(added.id).name == "Alice  B"


def test_a_new_user_is_enrolled_with_attributes(gallery: Gallery, photos: Photos) -> None:
    photo, other = photos("Colin_Powell", 1), photos("Colin_Powell", 2)
    enrolled = gallery.enroll(photo, "a@example.org", external_id="1", labels=["staff"], metadata={"k": 1})
    assert enrolled.user == gallery.user(ExternalId("1"))
    # A user who exists already stays as they are.
    assert gallery.enroll(other, ExternalId("1"), labels=["guest"]).user.labels == ("staff",)
    assert gallery.verify(other, ExternalId("1")).match
    assert [match.name for match in gallery.identify(other, labels=["staff"]).faces[0].matches] == ["a"]
    assert gallery.identify(other, labels=["staff", "guest"]).faces[0].matches == ()
    with pytest.raises(DuplicateExternalIdError):
        gallery.enroll(photo, "b@example.org", external_id="1", allow_other_user=True)
    with pytest.raises(GalleryError):
        gallery.identify(other, labels=["a\nb"])
    assert len(gallery.users()) == 1
    gallery.erase_user(ExternalId("1"))
    assert gallery.users(labels=["staff"]) == []


def test_users_are_listed_by_labels(gallery: Gallery) -> None:
    for number, labels in enumerate([["staff"], ["staff", "night shift"], [], ["Staff"]]):
        gallery.add_user(f"{number}@example.org", labels=labels)
    assert [user.name for user in gallery.users(labels=["staff"])] == ["0", "1"]
    assert [user.name for user in gallery.users(labels=["night shift", " staff "])] == ["1"]
    assert [user.name for user in gallery.users(labels=["staff"], after=1, limit=1)] == ["1"]
    assert [user.name for user in gallery.users(labels=["staff"], text="0@")] == ["0"]
    assert gallery.users(labels=["guest"]) == []
    with pytest.raises(GalleryError):
        gallery.users(labels=["\0"])


def test_merged_users_keep_the_labels_and_metadata_of_both(gallery: Gallery) -> None:
    gallery.add_user("a@example.org", external_id="1", labels=["staff", "x"], metadata={"k": "a", "of a": 1})
    gallery.add_user("b@example.org", labels=["staff", "y"], metadata={"k": "b", "of b": {"n": 2}})
    merged = gallery.merge_users("a@example.org", "b@example.org")
    assert (merged.external_id, merged.labels) == ("1", ("staff", "x", "y"))
    assert merged.metadata == {"k": "b", "of a": 1, "of b": {"n": 2}}
    gallery.add_user("c@example.org", external_id="2", labels=[str(number) for number in range(30)])
    with pytest.raises(GalleryError, match=says.TOO_MANY_LABELS.pattern(count=33)):
        gallery.merge_users("c@example.org", "b@example.org")
    gallery.update_user("c@example.org", labels=[], metadata={"large": "x" * 8_160})
    with pytest.raises(GalleryError, match=says.METADATA_TOO_LARGE.pattern()):
        gallery.merge_users("c@example.org", "b@example.org")
    gallery.update_user("c@example.org", metadata={})
    assert gallery.merge_users("c@example.org", "b@example.org").external_id == "1"
    assert [user.email for user in gallery.users()] == ["b@example.org"]


def test_a_face_without_a_person_is_found_but_not_listed(gallery: Gallery, connection: Connection) -> None:
    person = gallery.add_user("person@example.org", "Person")
    face = gallery.add_user("face@example.org", "Face")
    connection.execute("UPDATE users SET is_person = FALSE WHERE id = %s", (face.id,))
    gallery.enroll_embedding([float(value) for value in between(0, 1, 0.9)[1:-1].split(",")], person.id)
    gallery.enroll_embedding([float(value) for value in axis(0)[1:-1].split(",")], face.id)
    probe = [1.0] + [0.0] * 511
    assert [match.name for match in gallery.identify_embedding(probe, top=5)] == ["Face", "Person"]
    assert [match.name for match in gallery.identify_embedding(probe, top=5, people_only=True)] == ["Person"]
    assert [user.name for user in gallery.users()] == ["Person"]
    assert gallery.status().users == 1
    assert rows(connection, "SELECT users FROM gallery_size()") == [(1,)]
    evaluated = stored_embeddings(gallery.database, gallery.settings.photos_dir, gallery.config.id)
    assert [photo.person for photo in evaluated.photos] == ["person@example.org"]
    assert gallery.user(face.id).name == "Face"
    with pytest.raises(UnknownUserError):
        gallery.user("Face")
    # Once its person is known, both are one.
    merged = gallery.merge_users(person.id, face.id)
    assert [user.id for user in gallery.users()] == [merged.id]
