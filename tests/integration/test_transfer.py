"""Export from a gallery and import into another one, to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pgface import vectors
from pgface.errors import ModelMismatchError, StorageError, TransferError
from pgface.gallery import Gallery
from pgface.operations.transfer.export import export_gallery
from pgface.operations.transfer.load import import_gallery
from pgface.settings import Settings
from support.galleries import contents, in_both_schemas, rows
from support.old_installation import some_vectors
from support.sentences import backup as says

pytestmark = pytest.mark.slow

FORMATS = pytest.mark.parametrize("destination", ["export", "export.parquet"])
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def filled(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A gallery of three people with 123 embeddings, some of them with a norm other than 1, and one without any."""
    monkeypatch.setattr(vectors, "_BATCH_ROWS", 20)  # so that there are several blocks
    with Gallery.create(settings, model="sface") as gallery:
        ids = [gallery.add_user(f"p{number}@example.org", f"Person «{number}»").id for number in range(4)]
        gallery.load_embeddings(np.array(ids)[np.arange(120) % 3], some_vectors(120))
        gallery.update_user(ids[0], external_id="emp-0", labels=["b", "a"], metadata={"é": [0.1, {"n": None}]})
        with gallery.database.transaction() as connection:
            connection.execute("UPDATE users SET is_person = FALSE, labels = '{c}' WHERE id = %s", (ids[2],))
            for seed in range(3):
                vector = some_vectors(1, seed=seed + 1)[0].astype(np.float32)  # as other SQL may write them
                connection.execute("INSERT INTO face_embeddings (user_id, embedding) VALUES (1, %s)", (vector,))
    return settings


@pytest.fixture
def other(settings: Settings) -> Settings:
    """Another gallery with the same model."""
    other = settings.model_copy(update={"schema_name": "another"})
    Gallery.create(other, model="sface").close()
    return other


def embeddings(settings: Settings) -> list[tuple[str, str, bytes]]:
    with Gallery.open(settings) as gallery, gallery.database.transaction() as connection:
        found = rows(
            connection,
            "SELECT email, name, embedding FROM face_embeddings f JOIN users u ON u.id = f.user_id ORDER BY f.id",
        )
    return [(email, name, vector.to_numpy().tobytes()) for email, name, vector in found]


def attributes(settings: Settings) -> list[Any]:
    with Gallery.open(settings) as gallery, gallery.database.transaction() as connection:
        columns = "email, external_id, labels, metadata, is_person"
        query = f"SELECT {columns} FROM users u WHERE EXISTS (SELECT FROM face_embeddings WHERE user_id = u.id)"
        return sorted(rows(connection, query))


@in_both_schemas
@FORMATS
def test_export_and_import_to_the_bit(filled: Settings, other: Settings, tmp_path: Path, destination: str) -> None:
    with Gallery.open(other) as gallery:  # so that ids differ
        gallery.add_user("somebody@example.org")
        gallery.add_user("P1@example.org", "Has another name here")
    report = export_gallery(filled, tmp_path / destination)
    assert (report.people, report.embeddings) == (3, 123)
    progress: list[tuple[int, int]] = []
    imported = import_gallery(other, tmp_path / destination, on_rows=lambda *done: progress.append(done))
    assert (imported.new.users, imported.new.embeddings) == (2, 123)
    assert progress[-1] == (123, 123)
    wanted = [(email, "Has another name here" if "1" in email else n, v) for email, n, v in embeddings(filled)]
    assert embeddings(other) == wanted
    assert [row[1:] for row in attributes(other)] == [row[1:] for row in attributes(filled)]
    assert attributes(other)[0][1:] == ("emp-0", ["a", "b"], {"é": [0.1, {"n": None}]}, True)
    before = embeddings(other)
    again = import_gallery(other, tmp_path / destination)
    assert (again.new.users, again.new.embeddings) == (0, 0)
    assert embeddings(other) == before
    export_gallery(other, tmp_path / "2" / destination)
    if not destination.endswith(".parquet"):
        first, second = (tmp_path / part / destination / "face_db.npy" for part in ("", "2"))
        assert first.read_bytes() == second.read_bytes()


def test_other_programs_can_read_an_export(filled: Settings, tmp_path: Path) -> None:
    export_gallery(filled, tmp_path / "export")
    export_gallery(filled, tmp_path / "export.parquet")
    vectors = np.load(tmp_path / "export" / "face_db.npy")
    labels = json.loads((tmp_path / "export" / "face_db.json").read_text(encoding="utf-8"))
    assert (vectors.dtype, vectors.shape) == (np.float32, (123, 512))
    assert labels["users"][:4] == ["1", "2", "3", "1"]
    assert len(labels["users"]) == 123
    table = pq.read_table(tmp_path / "export.parquet")
    assert table["user_email"][1].as_py() == "p1@example.org"
    assert np.array_equal(np.stack(table["embedding"].to_numpy()), vectors)


@FORMATS
def test_files_are_private_and_replaced_only_on_request(filled: Settings, tmp_path: Path, destination: str) -> None:
    export_gallery(filled, tmp_path / destination)
    files = [file for file in tmp_path.rglob("export*") if file.is_file()] + list(tmp_path.rglob("face_db.*"))
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    with pytest.raises(StorageError, match=says.EXPORT_IS_THERE_ALREADY.pattern()):
        export_gallery(filled, tmp_path / destination)
    export_gallery(filled, tmp_path / destination, replace=True)


@FORMATS
def test_an_interrupted_export_leaves_nothing(filled: Settings, tmp_path: Path, destination: str) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_gallery(filled, tmp_path / destination, on_rows=stop)
    assert [file for file in tmp_path.rglob("*") if file.is_file() and "data" not in file.parts] == []


def test_a_folder_that_cannot_be_created(filled: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=says.EXPORT_CANNOT_BE_WRITTEN.pattern()):
        export_gallery(filled, tmp_path / "file" / "export")


@FORMATS
def test_another_model_is_refused(filled: Settings, tmp_path: Path, destination: str, insightface_pack: Path) -> None:
    export_gallery(filled, tmp_path / destination)
    other = filled.model_copy(update={"schema_name": "of-another-model"})
    with Gallery.create(other, model=str(insightface_pack)) as gallery:
        before = contents(gallery)
        with pytest.raises(ModelMismatchError, match=says.EXPORT_OF_ANOTHER_MODEL.pattern(model="sface")):
            import_gallery(other, tmp_path / destination)
        assert contents(gallery) == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda labels: labels.pop("model"), says.EXPORT_NAMES_NO_MODEL.pattern()),
        (lambda labels: labels.update(model={"name": "sface"}), says.NOT_AN_EXPORT.pattern()),
        (lambda labels: labels.update(people=[{"id": 1}]), says.NOT_AN_EXPORT.pattern()),
        (lambda labels: labels["people"].pop(), says.EMBEDDINGS_WITHOUT_PEOPLE.pattern()),
        (lambda labels: labels["users"].pop(), says.EMBEDDINGS_WITHOUT_PEOPLE.pattern()),
        (lambda labels: labels["users"].append("x"), says.USERS_ARE_NO_IDS.pattern(count=1)),
    ],
)
def test_a_damaged_export_changes_nothing(
    filled: Settings, other: Settings, tmp_path: Path, change: Change, sentence: str
) -> None:
    export_gallery(filled, tmp_path / "export")
    file = tmp_path / "export" / "face_db.json"
    labels = json.loads(file.read_text(encoding="utf-8"))
    del labels["sha256"]  # as in files of other programs
    change(labels)
    file.write_text(json.dumps(labels), encoding="utf-8")
    with pytest.raises(TransferError, match=sentence):
        import_gallery(other, tmp_path / "export")
    assert embeddings(other) == []


@pytest.mark.parametrize("file", ["export/face_db.npy", "export/face_db.json", "export.parquet"])
def test_a_flipped_bit_is_detected(filled: Settings, other: Settings, tmp_path: Path, file: str) -> None:
    destination = tmp_path / Path(file).parts[0]
    export_gallery(filled, destination)
    whole = (tmp_path / file).read_bytes()
    if file.endswith(".json"):  # in a name, and in the owner of the first embedding
        places = [whole.index("Person «2»".encode()), whole.index(b'"users": ["1"') + 11]
    else:  # in an embedding, whose numbers remain numbers
        places = [whole.rindex(embeddings(filled)[60][2])]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 2
        (tmp_path / file).write_bytes(damaged)
        with pytest.raises(TransferError, match=says.CHECKSUMS_OF_EXPORT_DIFFER.pattern()):
            import_gallery(other, destination)
        assert embeddings(other) == []
    (tmp_path / file).write_bytes(whole)
    assert import_gallery(other, destination).new.embeddings == 123


@FORMATS
def test_an_export_without_checksums_is_accepted(
    filled: Settings, other: Settings, tmp_path: Path, destination: str
) -> None:
    export_gallery(filled, tmp_path / destination)
    if destination.endswith(".parquet"):
        table = pq.read_table(tmp_path / destination)
        about = {b"pgface": table.schema.metadata[b"pgface"]}
        pq.write_table(table.replace_schema_metadata(about), tmp_path / destination)
    else:
        file = tmp_path / destination / "face_db.json"
        labels = json.loads(file.read_text(encoding="utf-8"))
        assert set(labels.pop("sha256")) == {"embeddings", "people"}
        file.write_text(json.dumps(labels, indent=1), encoding="utf-8-sig")
    assert import_gallery(other, tmp_path / destination).new.embeddings == 123
    assert embeddings(other) == embeddings(filled)


@pytest.mark.parametrize("keep", [0, 100, -1, -2_000])
def test_a_truncated_parquet_file(filled: Settings, other: Settings, tmp_path: Path, keep: int) -> None:
    file = tmp_path / "export.parquet"
    export_gallery(filled, file)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(TransferError, match=says.EXPORT_CANNOT_BE_READ.pattern()):
        import_gallery(other, file)
    assert embeddings(other) == []


def test_export_and_import_of_an_empty_gallery(settings: Settings, other: Settings, tmp_path: Path) -> None:
    Gallery.create(settings, model="sface").close()
    for destination in ("export", "export.parquet"):
        assert export_gallery(settings, tmp_path / destination).embeddings == 0
        assert import_gallery(other, tmp_path / destination).found.embeddings == 0
