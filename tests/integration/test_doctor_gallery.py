"""`pgface doctor` checks the rows, indexes, model, thresholds and photo files of a gallery."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from psycopg import Connection

from pgface.database.pool import initialise
from pgface.database.sql import queries
from pgface.faces.engines.networks import NetworkEngine
from pgface.faces.engines.runtimes import OPENVINO, runtimes_of
from pgface.gallery import Gallery
from pgface.operations.doctor import diagnose
from pgface.operations.doctor import gallery as gallery_checks
from pgface.settings import Settings
from pgface.system.extras import how_to_install
from pgface.text import runs_on
from support.devices import need_azure
from support.doctor import cli, finding_of, findings_of, fix, settings_with, sql_on
from support.embedded_server import eventually
from support.galleries import add_embedding, add_user, axis, rows
from support.photos import Photos
from support.sentences import commands
from support.sentences import doctor as says
from support.sentences.gallery import MODELS_CANNOT_BE_COMPARED

WITH_OPENVINO = f"detection: ONNX Runtime (CPU), embedding: {OPENVINO}"


def test_embeddings_outside_of_their_rows(settings: Settings, bound: Connection) -> None:
    bound.execute("ALTER TABLE face_embeddings ALTER COLUMN embedding SET STORAGE EXTERNAL")
    assert says.NEW_EMBEDDINGS_OUTSIDE_OF_ROWS in finding_of(settings, "storage").found
    user = add_user(bound, "a@example.org")
    for number in range(20):
        add_embedding(bound, user, axis(number))
    unchanged = "SELECT id, embedding::text, updated_at FROM face_embeddings ORDER BY id"
    before = rows(bound, unchanged)
    finding = finding_of(settings, "storage")
    assert finding.state == "problem"
    assert finding.found.startswith("0.")
    fix(settings, "storage")
    assert finding_of(settings, "storage").state == "fine"
    assert rows(bound, unchanged) == before


def test_a_missing_index(settings: Settings, bound: Connection) -> None:
    bound.execute("DROP INDEX idx_embeddings_vector")
    finding = finding_of(settings, "indexes")
    assert (finding.state, finding.remedy) == ("advice", "pgface init")
    fix(settings, "indexes")
    assert finding_of(settings, "indexes").state == "fine"


def test_a_fix_of_an_index_binds_no_gallery(settings: Settings) -> None:
    initialise(settings)
    with sql_on(settings) as connection:
        connection.execute("DROP INDEX idx_embeddings_vector")
        fix(settings, "indexes")
        assert finding_of(settings, "indexes").state == "fine"
        assert rows(connection, "SELECT model_name FROM gallery") == [(None,)]


def test_users_who_were_added_without_triggers(settings: Settings, bound: Connection) -> None:
    people = "SELECT i, i || '@example.org', '!' FROM generate_series(1, 120) AS i"
    bound.execute(f"INSERT INTO users (name, email, password) {people}".encode())
    faces = (
        "SELECT u.id, array_agg(sin(u.id * i))::vector FROM users u, generate_series(1, 512) AS i "
        "WHERE u.id {} GROUP BY u.id"
    )
    load = "INSERT INTO face_embeddings (user_id, embedding) "
    bound.execute((load + faces.format("<= 60")).encode())
    cli(settings)("fit-search", "--method", "hnsw")
    bound.execute("SET session_replication_role = replica")
    bound.execute((load + faces.format("> 60")).encode())
    bound.execute("RESET session_replication_role")
    not_found = (
        "SELECT count(*) FROM face_embeddings e "
        "WHERE NOT EXISTS (SELECT FROM find_similar_faces(e.embedding, 0.99, 5) f WHERE f.user_id = e.user_id)"
    )
    assert rows(bound, not_found) == [(60,)]
    (finding,) = (found for found in findings_of(settings, "indexes") if found.state == "problem")
    assert finding.found.startswith(says.USERS_ARE_NOT_FOUND.format(count=60))
    fix(settings, "indexes")
    assert {found.state for found in findings_of(settings, "indexes")} <= {"fine", "advice"}
    assert rows(bound, not_found) == [(0,)]


def test_ids_that_are_in_use(settings: Settings, bound: Connection) -> None:
    for number in range(3):
        add_user(bound, f"{number}@example.org")
    bound.execute("SELECT setval(pg_get_serial_sequence('users', 'id'), 1, false)")
    finding = finding_of(settings, "sequences")
    assert finding.state == "problem"
    assert says.NEXT_ID_IS_IN_USE.format(table="users") in finding.found
    fix(settings, "sequences")
    assert finding_of(settings, "sequences").state == "fine"
    assert add_user(bound, "new@example.org") == 4


def test_rows_of_deleted_users(settings: Settings, bound: Connection) -> None:
    user = add_user(bound, "a@example.org")
    add_embedding(bound, user, axis(0))
    bound.execute("SET session_replication_role = replica")
    bound.execute("DELETE FROM users")
    bound.execute("RESET session_replication_role")
    finding = finding_of(settings, "deleted users")
    assert finding.state == "problem"
    assert says.ROWS_OF_DELETED_USERS.format(embeddings=1, photos=0, tokens=0) in finding.found
    bound.execute(finding.remedy.partition(": ")[2].encode())
    assert finding_of(settings, "deleted users").state == "fine"


def test_a_locked_table(settings: Settings, bound: Connection) -> None:
    with bound.transaction():
        bound.execute("LOCK TABLE face_embeddings IN ACCESS EXCLUSIVE MODE")
        found = {finding.check: finding for finding in diagnose(settings)}
    assert found["locks"].state == "problem"
    locked = says.TABLE_IS_LOCKED.format(process=bound.info.backend_pid, program="unnamed", table="face_embeddings")
    assert locked in found["locks"].found
    assert found["storage"].state == "unknown"
    assert [finding for finding in diagnose(settings) if finding.check == "locks"] == []


def test_another_column_outside_of_the_rows(settings: Settings, bound: Connection) -> None:
    add_embedding(bound, add_user(bound, "a@example.org"), axis(0))
    bound.execute("ALTER TABLE face_embeddings ADD COLUMN notes text")
    long = "SELECT string_agg(md5(i::text), '') FROM generate_series(1, 2000) AS i"
    bound.execute(f"UPDATE face_embeddings SET notes = ({long})".encode())
    assert finding_of(settings, "storage").state == "fine"


def test_an_invalid_vector_index(settings: Settings, bound: Connection) -> None:
    bound.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_embeddings_vector'::regclass")
    finding = finding_of(settings, "indexes")
    assert (finding.state, finding.fix) == ("advice", None)
    program, *arguments = finding.remedy.split()
    assert program == "pgface"
    cli(settings)(*arguments)
    assert finding_of(settings, "indexes").state == "fine"


def test_an_invalid_index_of_another_kind(settings: Settings, bound: Connection) -> None:
    bound.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_embeddings_user_id'::regclass")
    reported = [
        (finding.check, finding.remedy) for finding in diagnose(settings) if "idx_embeddings_user_id" in finding.found
    ]
    (_, by_contract), (_, by_advice) = sorted(reported, reverse=True)
    assert by_contract == says.IN_PSQL.format(statement="REINDEX INDEX idx_embeddings_user_id;")
    assert by_advice.startswith("REINDEX INDEX CONCURRENTLY ")
    bound.execute(by_advice.encode())
    assert not [finding for finding in diagnose(settings) if "idx_embeddings_user_id" in finding.found]


def test_dead_rows(settings: Settings, bound: Connection) -> None:
    user = add_user(bound, "a@example.org")
    bound.execute(
        "INSERT INTO face_embeddings (user_id, embedding) SELECT %s, %s FROM generate_series(1, 2000)", (user, axis(0))
    )
    bound.execute("DELETE FROM face_embeddings")
    bound.execute("SELECT pg_stat_force_next_flush()")
    assert eventually(lambda: finding_of(settings, "vacuum").state == "advice")
    assert says.DEAD_ROWS.format(count=2000) in finding_of(settings, "vacuum").found
    fix(settings, "vacuum")
    assert eventually(lambda: finding_of(settings, "vacuum").state == "fine")


def test_weights_that_are_missing_or_different(settings: Settings, insightface_pack: Path, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    shutil.copytree(insightface_pack, pack)
    Gallery.create(settings, model=str(pack)).close()
    assert finding_of(settings, "model").state == "fine"
    pack.rename(tmp_path / "elsewhere")  # a copy was made
    assert finding_of(settings, "model").state == "fine"
    kept = settings.models_dir / "pack"
    kept.rename(tmp_path / "taken away")
    missing = finding_of(settings, "model")
    assert missing.state == "problem"
    assert missing.remedy == "pgface models install pack --from FOLDER --accept-license"
    assert says.MODEL_IS_NOT_HERE.is_in(missing.found, model="pack", place=kept)
    (tmp_path / "taken away").rename(kept)
    assert finding_of(settings, "model").state == "fine"
    with sql_on(settings) as connection:
        connection.execute("ALTER TABLE gallery DISABLE TRIGGER USER")
        ((right,),) = rows(connection, "SELECT weights_sha256 FROM gallery")
        connection.execute("UPDATE gallery SET weights_sha256 = %s", ("0" * 64,))
        assert MODELS_CANNOT_BE_COMPARED in finding_of(settings, "model").found
        connection.execute("UPDATE gallery SET weights_sha256 = %s", (right,))
    assert finding_of(settings, "model").state == "fine"


def test_a_gallery_without_a_model(settings: Settings) -> None:
    initialise(settings)
    finding = finding_of(settings, "model")
    assert (finding.state, finding.remedy) == ("problem", "pgface init --model NAME")
    cli(settings)("init", "--model", "sface")
    assert finding_of(settings, "model").state == "fine"


def test_the_runtime_of_the_model(settings: Settings, insightface_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    initialise(settings)
    assert finding_of(settings, "runtime").state == "unknown"
    with Gallery.create(settings, model=str(insightface_pack)) as gallery:
        engine = gallery.engine
    assert isinstance(engine, NetworkEngine)
    monkeypatch.setattr(gallery_checks, "_OPENVINO_IS_FASTER", True)
    for embedding, state, found, remedy in (
        (OPENVINO, "fine", says.RUNTIMES.format(runtimes=WITH_OPENVINO), ""),
        ("ONNX Runtime (CPU)", "advice", says.OPENVINO_IS_MISSING, how_to_install("openvino").strip("`")),
        ("ONNX Runtime (CPU), because", "advice", "because", "pip uninstall openvino && pip install openvino"),
    ):
        monkeypatch.setattr(engine.recogniser.session, "runtime", embedding)
        finding = finding_of(settings, "runtime")
        assert (finding.state, finding.remedy) == (state, remedy)
        assert found in finding.found
    monkeypatch.setattr(gallery_checks, "_OPENVINO_IS_FASTER", False)
    assert finding_of(settings, "runtime").state == "fine"


@pytest.mark.parametrize(("agreement", "state"), [(0.9999, "fine"), (0.99989, "advice")])
def test_embeddings_of_a_device(
    settings: Settings, insightface_pack: Path, monkeypatch: pytest.MonkeyPatch, agreement: float, state: str
) -> None:
    with Gallery.create(settings, model=str(insightface_pack)) as gallery:
        engine = gallery.engine
    monkeypatch.setattr(engine, "agreement", agreement)
    finding = finding_of(settings, "runtime")
    assert finding.state == state
    runtimes = runs_on(runtimes_of(engine))
    assert says.RUNTIMES_OF_A_DEVICE.is_in(finding.found, runtimes=runtimes, agreement=f"{agreement:.6f}")


def test_a_device_that_runs_nothing(settings: Settings, insightface_pack: Path) -> None:
    need_azure()
    Gallery.create(settings, model=str(insightface_pack)).close()
    other = settings.model_copy(update={"execution_provider": "azure"})
    assert finding_of(other, "runtime").state == "problem"
    finding = finding_of(other, "model")
    assert (finding.state, finding.found) == ("unknown", says.MODEL_WAS_NOT_LOADED.format())


def test_dlib_runs_itself(settings: Settings) -> None:
    Gallery.create(settings, model="dlib").close()
    finding = finding_of(settings, "runtime")
    assert (finding.state, finding.found) == ("fine", says.RUNTIMES.format(runtimes="dlib (CPU)"))


def test_thresholds_that_are_too_low(settings: Settings, bound: Connection) -> None:
    assert finding_of(settings, "thresholds").state == "advice"
    bound.execute("UPDATE gallery SET identify_threshold = 0.1")
    finding = finding_of(settings, "thresholds")
    assert finding.state == "problem"
    assert says.THRESHOLD_IS_TOO_LOW.format(people=0) in finding.found
    cli(settings)("calibrate", "--follow", "--yes")
    assert finding_of(settings, "thresholds").state == "fine"


@pytest.fixture
def enrolled(gallery: Gallery, photos: Photos) -> Gallery:
    """Three photos of two people."""
    for person, number in (("George_W_Bush", 1), ("George_W_Bush", 2), ("Colin_Powell", 1)):
        gallery.enroll(photos(person, number), f"{person.lower()}@example.org")
    return gallery


def test_photos_without_files_and_files_without_photos(settings: Settings, enrolled: Gallery) -> None:
    assert finding_of(settings, "photo files").found == says.PHOTOS_HAVE_THEIR_FILES.format(count=3)
    first, second, _ = (enrolled.photo_file(photo) for photo in enrolled.photos())
    data = first.read_bytes()
    first.unlink()
    missing = finding_of(settings, "photo files")
    assert missing.state == "problem"
    assert missing.found.startswith(says.PHOTOS_WITHOUT_FILE.format(count=1))
    assert first.name in missing.found
    first.write_bytes(data)

    stray = second.parent.with_name("ab") / f"ab{'0' * 30}.jpg"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(data)
    beside = second.with_name(f"{second.name[:2]}{'f' * 30}.jpg")
    beside.write_bytes(data)
    found = finding_of(settings, "photo files")
    assert found.state == "problem"
    assert found.found.startswith(says.FILES_WITHOUT_PHOTO.format(count=2))
    pgface = cli(settings)
    assert set(pgface("photos", "strays").stdout.splitlines()[:-1]) == {str(stray), str(beside)}
    assert stray.exists()
    removed = json.loads(pgface("photos", "strays", "--delete", "--yes", "--json").stdout)
    assert set(removed["removed"]) == {str(stray), str(beside)}
    assert not stray.exists()
    assert not beside.exists()
    assert second.exists()
    assert finding_of(settings, "photo files").found == says.PHOTOS_HAVE_THEIR_FILES.format(count=3)
    assert pgface("photos", "strays").stdout == f"{commands.EVERY_FILE_BELONGS_TO_A_PHOTO}\n"


def test_files_of_a_killed_process_are_not_missing(settings: Settings, enrolled: Gallery) -> None:
    place = enrolled.photo_file(enrolled.photos()[0])
    place.rename(place.parents[1] / "incoming" / place.name)  # as a process that was killed after its commit leaves it
    assert finding_of(settings, "photo files").found == says.PHOTOS_HAVE_THEIR_FILES.format(count=3)


def test_another_photos_folder(settings: Settings, enrolled: Gallery, tmp_path: Path) -> None:
    assert len(enrolled.photos()) == 3
    finding = finding_of(settings_with(settings, data_dir=tmp_path / "another"), "photo files")
    assert finding.state == "advice"
    assert finding.found.startswith(says.FILES_OF_ANOTHER_FOLDER.format(count=3))
    assert "PGFACE_DATA_DIR" in finding.remedy


def test_strays_are_left_alone_while_a_backup_copies(settings: Settings, enrolled: Gallery) -> None:
    photo = enrolled.photo_file(enrolled.photos()[0])
    stray = photo.with_name(f"{photo.name[:2]}{'f' * 30}.jpg")
    stray.write_bytes(b"a face")
    with sql_on(settings) as backup, backup.transaction():
        backup.execute(queries()["hold_photo_files"])
        refused = cli(settings)("photos", "strays", "--delete", "--yes", code=1)
        assert commands.BACKUP_IS_COPYING_PHOTO_FILES in refused.stderr
    assert stray.exists()


def test_passwords_that_can_be_read(settings: Settings, bound: Connection) -> None:
    hashes = (
        "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaA",
        "scrypt:32768:8:1$salt$0f0f",
        "pbkdf2:sha256:600000$salt$0f0f",
        "$2b$12$abcdefghijklmnopqrstuu",
        "pbkdf2_sha256$600000$salt$0f0f",
        "sha256$salt$0f0f",
        "!",
        "*",
    )
    readable = ("secret", "hashed_password_here", "pa$$word", "")
    for number, password in enumerate((*hashes, *readable)):
        bound.execute(
            "INSERT INTO users (id, name, email, password) VALUES (%s, 'A', %s, %s)",
            (number + 1, f"{number}@example.org", password),
        )
    finding = finding_of(settings, "user passwords")
    assert finding.state == "problem"
    assert finding.found.endswith(says.USERS_WITH_READABLE_PASSWORDS.format(count=4, ids="9, 10, 11, ..."))
    assert "secret" not in finding.found + finding.remedy
    bound.execute("UPDATE users SET password = '!' WHERE id > %s", (len(hashes),))
    assert finding_of(settings, "user passwords").state == "fine"
