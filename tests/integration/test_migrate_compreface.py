"""Migrating CompreFace into a gallery: from its PostgreSQL, and from dumps of it."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from PIL import Image
from psycopg.conninfo import conninfo_to_dict

from pgface.accounts import COMMAND_LINE, list_keys, revoke_key
from pgface.accounts.compreface_keys import find_compreface_key
from pgface.errors import DatabaseError, DatabaseUnreachableError, MigrationError, PgfaceError
from pgface.galleries import Galleries
from pgface.gallery import Gallery
from pgface.operations.compreface import dump as dumps
from pgface.operations.compreface.migrate import gallery_name, migrate_compreface
from pgface.operations.compreface.report import CompreFaceReport, ServiceReport
from pgface.operations.compreface.source import Service
from pgface.settings import MEBI, Settings
from support.commands import Run, environment_of, without_settings
from support.compreface import Caller
from support.databases import Databases
from support.documentation import HOW_TO
from support.embedded_server import eventually
from support.galleries import contents, one_value, rows
from support.old_compreface import DEMO_KEY, DETECTION_KEY, KEY, OTHER_KEY, CompreFace, compreface_in, copy_block
from support.photos import Photos
from support.pictures import bomb
from support.sentences import Sentence
from support.sentences import compreface as says
from support.web_service import Served, file

PEOPLE = ("Colin_Powell", "Gerhard_Schroeder", "Tony_Blair")
FACES = "SELECT count(*) FROM face_ids"


@pytest.fixture
def old(databases: Databases) -> Iterator[CompreFace]:
    """An empty CompreFace with one service for recognition."""
    url = databases.create()
    with compreface_in(url) as compreface:
        yield compreface
    databases.drop(url)


@pytest.fixture
def people(old: CompreFace, photos: Photos) -> dict[str, list[UUID]]:
    """Two images of each of three subjects, with their ids."""
    return {
        person: [old.add_image(subject, photos(person, number)) for number in (1, 2)]
        for person, subject in ((person, old.add_subject(person)) for person in PEOPLE)
    }


def move(old: CompreFace, settings: Settings, **options: Any) -> ServiceReport:
    (service,) = whole_report(old, settings, **options).services
    return service


def whole_report(old: CompreFace, settings: Settings, **options: Any) -> CompreFaceReport:
    return migrate_compreface(old.url, settings, **{"face": "largest", **options})


def select(gallery: Gallery, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with gallery.database.transaction() as connection:
        return rows(connection, query, *parameters)


def owners(gallery: Gallery) -> dict[UUID, str]:
    """Return the subject of each lasting id of a face."""
    return dict(
        select(
            gallery,
            "SELECT f.face_id, u.external_id FROM face_ids f JOIN face_embeddings e ON e.id = f.embedding_id "
            "JOIN users u ON u.id = e.user_id",
        )
    )


def test_subjects_images_and_ids_move_and_are_recognised(
    old: CompreFace, people: dict[str, list[UUID]], gallery: Gallery, settings: Settings, photos: Photos
) -> None:
    old.add_service("Faces", DETECTION_KEY, "D")
    nobody = old.add_subject("No images yet")
    before = old.contents()
    progress: list[tuple[int, int]] = []
    report = whole_report(old, settings, on_progress=lambda done, total: progress.append((done, total)))
    (service,) = report.services
    assert (service.application, service.service, service.subjects, service.examples) == ("Office", "Doors", 4, 6)
    assert (service.new_subjects, service.moved, service.searched, service.not_moved) == (4, 6, 6, [])
    assert (report.keys.added, report.keys.existing, report.keys.refused) == (2, 0, [])
    assert progress == [(done, 6) for done in range(1, 7)]
    assert owners(gallery) == {example: person for person, examples in people.items() for example in examples}
    users = select(gallery, "SELECT external_id, name, email, password FROM users ORDER BY id")
    assert [user[:2] for user in users] == [(name, name) for name in (*PEOPLE, "No images yet")]
    assert users[3][2:] == (f"{nobody}@compreface.invalid", "!")
    assert one_value(gallery, "SELECT count(*) FROM photos WHERE width = 224 AND filename ~ '^[0-9a-f-]{36}$'") == 6
    probes = [(person, number) for person in PEOPLE for number in range(3, 8)]
    found = [gallery.identify(photos(*probe)).faces[0].matches for probe in probes]
    assert [matches[0].name for matches in found if matches] == [person for person, _ in probes]
    # Another run changes neither side.
    state = contents(gallery)
    service = move(old, settings)
    assert (service.new_subjects, service.moved, service.moved_before, service.searched) == (0, 0, 6, 0)
    assert contents(gallery) == state
    assert old.contents() == before


def test_clients_keep_their_keys_and_ids(
    old: CompreFace, people: dict[str, list[UUID]], api: Served, photos: Photos
) -> None:
    old.add_service("Faces", DETECTION_KEY, "D")
    move(old, api.owner.settings)
    recognition, detection = Caller(api, "recognition", KEY), Caller(api, "detection", DETECTION_KEY)
    probe = {"file": file(photos("Colin_Powell", 5).read_bytes())}
    found = recognition.done("POST", "/recognize", files=probe)["result"][0]["subjects"][0]
    assert found["subject"] == "Colin_Powell"
    assert found["similarity"] > 0.5
    listed = recognition.done("GET", "/faces")["faces"]
    assert {face["image_id"]: face["subject"] for face in listed} == {
        str(example): person for person, examples in people.items() for example in examples
    }
    verified = recognition.done("POST", f"/faces/{people['Colin_Powell'][1]}/verify", files=probe)
    assert verified["result"][0]["similarity"] > 0.5
    assert len(detection.done("POST", "/detect", files=probe)["result"]) == 1
    deleted = recognition.done("DELETE", f"/faces/{people['Tony_Blair'][0]}")
    assert deleted["subject"] == "Tony_Blair"


def test_keys(old: CompreFace, gallery: Gallery, settings: Settings) -> None:
    old.add_service("Fa\u202ees", DETECTION_KEY.upper(), "D")
    old.add_service("Pairs", "not a UUID", "V")
    planned = whole_report(old, settings, dry_run=True).keys
    assert (planned.added, planned.existing, planned.refused) == (2, 0, ["Office/Pairs: it is not a UUID"])
    assert list_keys(gallery.database) == []
    assert whole_report(old, settings).keys == planned
    named = {key.name: key for key in list_keys(gallery.database)}
    assert {name: key.scopes for name, key in named.items()} == {
        "CompreFace Office/Doors": ["compreface-recognition"],
        "CompreFace detection": ["compreface-detection"],
    }
    revoke_key(gallery.database, named["CompreFace detection"].id, COMMAND_LINE)
    keys = whole_report(old, settings).keys
    assert (keys.added, keys.existing) == (0, 2)
    assert find_compreface_key(gallery.database, UUID(KEY)) is not None
    assert find_compreface_key(gallery.database, UUID(DETECTION_KEY)) is None
    old.add_service("Demo", DEMO_KEY)
    keys = whole_report(old, settings, api_key=DEMO_KEY).keys
    assert (keys.added, keys.existing) == (0, 1)
    assert find_compreface_key(gallery.database, UUID(DEMO_KEY)) is None


def test_images_that_cannot_be_embedded_are_listed_and_their_subjects_stay(
    old: CompreFace, gallery: Gallery, settings: Settings, photos: Photos, group_photo: Path
) -> None:
    blank = io.BytesIO()
    Image.new("RGB", (300, 300), "white").save(blank, "JPEG")
    small = settings.model_copy(update={"max_photo_bytes": MEBI})
    images: dict[str, tuple[bytes | Path, str]] = {
        "blank": (blank.getvalue(), "NoFaceError"),
        "broken": (photos("Tony_Blair", 1).read_bytes()[:2_000], "PhotoFormatError"),
        "text": (b"<html>", "PhotoFormatError"),
        "bomb": (bomb(), "PhotoTooLargeError"),
        "large": (b"\xff\xd8" + bytes(MEBI), "PhotoTooLargeError"),
        "empty": (b"", "PhotoNotReadableError"),
        "group": (group_photo, "SeveralFacesError"),
    }
    examples = {name: old.add_image(old.add_subject(name), content) for name, (content, _) in images.items()}
    old.add_image(old.add_subject("demo"), None)
    service = move(old, small, face="only")
    assert {one.subject: one.error for one in service.not_moved} == {name: error for name, (_, error) in images.items()}
    assert {one.example for one in service.not_moved} == set(map(str, examples.values()))
    assert (service.moved, service.without_image, service.new_subjects) == (0, 1, 8)
    (reason,) = [one.reason for one in service.not_moved if one.subject == "large"]
    assert says.IMAGE_IS_TOO_LARGE.is_in(reason, size=1.0, limit=1.0)
    assert one_value(gallery, "SELECT count(*) FROM users") == 8
    assert not [crop for crop in settings.photos_dir.rglob("*") if crop.suffix == ".jpg"]
    # Another run tries them again, with other rules.
    service = move(old, small)
    assert (service.moved, service.moved_before, len(service.not_moved)) == (1, 0, 6)
    assert owners(gallery) == {examples["group"]: "group"}


def test_a_photo_that_a_subject_has_twice_keeps_both_ids(
    old: CompreFace, gallery: Gallery, settings: Settings, photos: Photos
) -> None:
    subject, other = old.add_subject("Tony"), old.add_subject("Blair")
    photo = photos("Tony_Blair", 1)
    user = gallery.enroll(photo, "tony@example.org", face="largest").user
    with gallery.database.transaction() as connection:
        connection.execute("UPDATE users SET external_id = 'TONY' WHERE id = %s", (user.id,))
    examples = [old.add_image(subject, photo), old.add_image(subject, photo), old.add_image(other, photo)]
    service = move(old, settings)
    assert (service.moved, service.repeated, service.new_subjects) == (3, 1, 1)
    assert owners(gallery) == dict(zip(examples, ("TONY", "TONY", "Blair"), strict=True))
    assert gallery.user(user.id).photos == 2
    assert move(old, settings).moved_before == 3


def test_odd_names_of_subjects(old: CompreFace, gallery: Gallery, settings: Settings, photos: Photos) -> None:
    names = [
        "Ann",
        "ANN",
        "aNN",
        "Änn",
        "änn",
        "a\tb",
        "\u202egnp",
        " spaced ",
        "",
        None,
        "名" * 255,
        "a;/\\b",
        "x@y.z",
    ]
    subjects = [old.add_subject(name) for name in names]
    examples = [old.add_image(subjects[n], photos("Tony_Blair", n + 1)) for n in range(3)]
    service = move(old, settings)
    assert (service.subjects, service.new_subjects, service.same_subjects) == (13, 10, 3)
    assert len(service.odd_names) == 5
    stored = dict(select(gallery, "SELECT external_id, name FROM users"))
    assert {str(subjects[n]): f"Subject {subjects[n]}" for n in (5, 6, 8, 9)}.items() < stored.items()
    assert stored["spaced"] == "spaced"
    assert {"名" * 255, "a;/\\b", "x@y.z"} < stored.keys()
    (kept,) = {owner for example, owner in owners(gallery).items() if example in examples}
    assert kept.lower() == "ann"
    assert move(old, settings).new_subjects == 0
    # A subject that was renamed in the gallery is found by its id.
    with gallery.database.transaction() as connection:
        connection.execute("UPDATE users SET external_id = 'x' || id, name = 'x'")
    assert move(old, settings).new_subjects == 0


@pytest.mark.usefixtures("people")
def test_a_service_is_chosen_by_its_key(old: CompreFace, gallery: Gallery, settings: Settings) -> None:
    old.add_service("Gates", OTHER_KEY)
    old.add_service("Faces", DETECTION_KEY, "D")
    old.add_service("Windows", f"{OTHER_KEY[:-1]}0")
    old.add_subject("Guest", OTHER_KEY)
    before = contents(gallery)
    for key, message in (
        (OTHER_KEY[:20], says.KEYS_BEGIN_ALIKE.pattern(count=2, titles="Office/Gates, Office/Windows")),
        ("1f3", says.KEY_IS_TOO_SHORT.pattern()),
        (DETECTION_KEY, says.NO_SERVICE_WITH_THIS_KEY.pattern()),
    ):
        with pytest.raises(MigrationError, match=message):
            move(old, settings, api_key=key)
    assert contents(gallery) == before
    assert move(old, settings, api_key=OTHER_KEY.upper()).new_subjects == 1
    with pytest.raises(MigrationError, match=says.GALLERY_IS_NOT_EMPTY.pattern(others=1, service="Office/Doors")):
        move(old, settings, api_key=KEY)
    assert move(old, settings, api_key=KEY[:8], merge=True).moved == 6
    assert one_value(gallery, "SELECT count(*) FROM users") == 4


def test_each_of_several_services_becomes_a_gallery(
    old: CompreFace, people: dict[str, list[UUID]], gallery: Gallery, settings: Settings, photos: Photos, run: Run
) -> None:
    old.add_service("Gates & Co", OTHER_KEY)
    old.add_service("Faces", DETECTION_KEY, "D")
    # The subject is not the one of the other service.
    example = old.add_image(old.add_subject("Tony_Blair", OTHER_KEY), photos("Hugo_Chavez", 1))
    planned = whole_report(old, settings, dry_run=True)
    assert [service.moved for service in planned.services] == [6, 1]
    assert says.NO_GALLERY_YET.is_in(planned.not_checked or "")
    progress: list[tuple[int, int]] = []
    report = whole_report(old, settings, on_progress=lambda done, total: progress.append((done, total)))
    doors, gates = (service.gallery or "" for service in report.services)
    assert (doors, gates[:-8]) == ("Office.Doors", "Office.Gates---Co-")
    assert [service.moved for service in report.services] == [6, 1]
    assert progress[-1] == (7, 7)
    assert one_value(gallery, "SELECT count(*) FROM users") == 0
    with Galleries(gallery) as galleries:
        assert [each.name for each in galleries.list()] == [doors, gates]
        assert owners(galleries[doors]) == {one: person for person, ids in people.items() for one in ids}
        assert owners(galleries[gates]) == {example: "Tony_Blair"}
    found = [find_compreface_key(gallery.database, UUID(key)) for key in (KEY, OTHER_KEY, DETECTION_KEY)]
    assert [key and (key.service, key.gallery) for key in found] == [
        ("recognition", doors),
        ("recognition", gates),
        ("detection", None),
    ]
    again = json.loads(run("migrate", "--compreface", old.url, "--faces", "largest", "--report-json").stdout)
    assert [(service["gallery"], service["moved_before"]) for service in again["services"]] == [(doors, 6), (gates, 1)]
    # One service alone, into the gallery that the caller names.
    with pytest.raises(MigrationError, match=says.SEVERAL_FOR_ONE_GALLERY.pattern(count=2)):
        move(old, settings, gallery=gates)
    command = (
        "migrate",
        "--compreface",
        old.url,
        "--api-key",
        KEY,
        "--gallery",
        gates,
        "--merge",
        "--faces",
        "largest",
    )
    done = run(*command)
    assert says.SUBJECTS_AND_IMAGES_OF_GALLERY.is_in(done.stdout, gallery=gates, subjects=3, added=2, images=6, moved=6)
    assert says.KEYS_WERE_NOT_ADDED.is_in(done.stderr, count=1)


@pytest.mark.parametrize(
    ("application", "service", "name"),
    [
        ("a", "b", "a.b"),
        ("a.b", "c", "a.b.c-fc7cd9c4"),
        ("a", "b.c", "a.b.c-c0620514"),
        ("Büro", "Türen", "B-ro.T-ren-"),
        ("x" * 255, "y", f"{'x' * 200}-"),
        ("", "", ".-"),
    ],
)
def test_names_of_galleries(application: str, service: str, name: str) -> None:
    found = gallery_name(Service(application, service, "recognition", KEY))
    assert found.startswith(name)
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,209}", found)


@pytest.mark.usefixtures("people")
def test_a_dry_run_embeds_but_writes_nothing(
    old: CompreFace, gallery: Gallery, settings: Settings, tmp_path: Path
) -> None:
    old.add_image(old.add_subject("text"), b"text")
    before = contents(gallery)
    report = whole_report(old, settings, dry_run=True)
    (service,) = report.services
    assert (report.dry_run, report.not_checked) == (True, None)
    assert (service.new_subjects, service.moved, len(service.not_moved)) == (4, 6, 1)
    assert contents(gallery) == before
    # There is no gallery, and not even a server.
    none = settings.model_copy(update={"database_url": None, "data_dir": tmp_path / "none"})
    pack = str(settings.models_dir / "buffalo_sc_q8")
    report = whole_report(old, none, dry_run=True, model=pack)
    assert report.services[0].moved == 6
    assert says.NO_GALLERY_YET.is_in(report.not_checked or "")
    with pytest.raises(MigrationError, match=says.NO_SERVER_FOR_THE_DUMP.pattern()):
        migrate_compreface(str(tmp_path), none, dry_run=True)
    assert not none.data_dir.exists()


def test_a_killed_run_continues(
    old: CompreFace, gallery: Gallery, settings: Settings, faces_dir: Path, run: Run
) -> None:
    for folder in sorted(faces_dir.iterdir())[:3]:
        subject = old.add_subject(folder.name)
        for photo in sorted(folder.iterdir())[:8]:
            old.add_image(subject, photo)
    command = [sys.executable, "-m", "pgface", "migrate", "--compreface", old.url, "--faces", "largest"]
    environment = {**without_settings(), **environment_of(settings), "PGFACE_WORKERS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while one_value(gallery, FACES) < 3 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    killed_after = one_value(gallery, FACES)
    assert 3 <= killed_after < 24
    done = run("migrate", "--compreface", old.url, "--faces", "largest")
    assert says.MOVED_BEFORE.is_in(done.stdout, count=killed_after)
    assert says.SUBJECTS_AND_IMAGES.is_in(done.stdout, subjects=3, added=0, images=24, moved=24 - killed_after)
    assert one_value(gallery, FACES) == one_value(gallery, "SELECT count(*) FROM photos") == 24
    assert len([crop for crop in settings.photos_dir.rglob("*.jpg") if crop.parent.name != "incoming"]) == 24


@pytest.mark.usefixtures("people", "gallery")
def test_the_command_prints_a_report_without_secrets(old: CompreFace, run: Run) -> None:
    old.add_service("Faces", DETECTION_KEY, "D")
    old.add_service("Demo", DEMO_KEY)
    old.add_image(old.add_subject("Demo", DEMO_KEY), None)
    demo = old.add_subject("demo")
    old.add_image(demo, None)
    old.add_image(demo, b"text")
    outputs = []
    for options, expected in (
        (("--dry-run", "--faces", "largest"), [says.DRY_RUN.format()]),
        (
            ("--faces", "largest"),
            [
                says.SUBJECTS_AND_IMAGES.format(subjects=4, added=4, images=8, moved=6),
                says.EMBEDDINGS_WITHOUT_IMAGE.format(count=1),
                says.KEYS_WERE_ADDED.format(count=2),
                says.DEMO_WAS_LEFT_OUT.format(),
                says.FACES_FIND_THEIR_SUBJECTS.format(count=6),
            ],
        ),
        ((), [says.NOTHING_WAS_CHANGED.format()]),
        (("--report-json",), ['"moved_before": 6']),
    ):
        done = run("migrate", "--compreface", old.url, *options)
        assert [sentence for sentence in expected if sentence not in done.stdout] == []
        outputs += [done.stdout, done.stderr]
    assert says.IMAGES_CANNOT_BE_EMBEDDED.is_in(outputs[3], count=1)
    assert json.loads(outputs[6])["services"][0]["not_moved"][0]["subject"] == "demo"
    assert not [text for text in outputs for key in (KEY, DETECTION_KEY) if key[:8] in text]
    assert "--compreface" in run("migrate", "--compreface", old.url, "--sqlite", "x", code=2).stderr
    assert "--model" in run("migrate", "--sqlite", "x", code=2).stderr
    assert "`--api-key`" in run("migrate", "--compreface", old.url, "--api-key", "1", code=1).stderr


@pytest.mark.usefixtures("people")
def test_the_commands_of_the_how_to_page(old: CompreFace, gallery: Gallery, run: Run, tmp_path: Path) -> None:
    page = (HOW_TO / "migrate-compreface.md").read_text("utf-8")
    commands = re.findall(r"^(?: {4})?((?:pgface migrate|pgface galleries|docker) .+)$", page, re.MULTILINE)
    assert len(commands) == 7
    for command in commands:
        url = "postgresql://postgres@localhost:5432/frs"
        program, *arguments = (old.url if word == url else word for word in shlex.split(command))
        if program == "pgface":
            more = ["--faces", "largest"] if "--compreface" in arguments else []
            run(*arguments, *more)
            continue
        assert arguments[2:] == ["pg_dump", "--username=postgres", "--format=custom", "frs", ">", "compreface.dump"]
        old.add_service("Gates", OTHER_KEY)
        old.add_subject("Guest", OTHER_KEY)
        old.dump(tmp_path / arguments[-1], "custom")
    assert one_value(gallery, FACES) == 6
    with Galleries(gallery) as galleries:
        assert [(each.name, each.people) for each in galleries.list()] == [
            ("Office.Doors", 3),
            ("Office.Gates", 1),
            ("gates", 1),
        ]


def test_what_is_not_a_database_of_compreface_is_refused(
    databases: Databases, gallery: Gallery, settings: Settings, tmp_path: Path
) -> None:
    assert settings.database_url is not None
    empty = databases.create()
    password = "x9-secret"
    host = conninfo_to_dict(settings.database_url.get_secret_value())["host"]
    before = contents(gallery)
    for source, kind, message in (
        (empty, MigrationError, says.TABLE_DOES_NOT_EXIST),
        (f"postgresql://frs:{password}@/none?host={host}&port=1", DatabaseUnreachableError, says.CHECK_THE_URL),
        (f"postgresql://frs:{password}@/?nonsense=1", MigrationError, says.URL_CANNOT_BE_READ),
        (str(tmp_path / "missing"), MigrationError, says.FILE_DOES_NOT_EXIST),
    ):
        with pytest.raises(kind, match=message.pattern(file=source)) as refusal:
            migrate_compreface(source, settings)
        assert password not in str(refusal.value)
    assert contents(gallery) == before
    databases.drop(empty)


@pytest.mark.usefixtures("gallery")
def test_a_view_cannot_write(old: CompreFace, settings: Settings) -> None:
    """The source is never written, even if its owner made a view of a function that writes."""
    for statement in (
        "CREATE TABLE log (n int)",
        "CREATE FUNCTION spy() RETURNS bigint LANGUAGE sql AS 'INSERT INTO log VALUES (1) RETURNING 1'",
        "ALTER TABLE model RENAME TO models",
        "CREATE VIEW model AS SELECT spy() AS id, name, app_id, api_key, type FROM models",
    ):
        old.connection.execute(statement)
    with pytest.raises(DatabaseError, match="it only reads"):
        move(old, settings)
    assert old.connection.execute("SELECT count(*) FROM log").fetchone() == (0,)


def test_dumps_of_every_format_move_the_same(
    old: CompreFace, people: dict[str, list[UUID]], gallery: Gallery, settings: Settings, tmp_path: Path
) -> None:
    # Rows of other tables may look like commands.
    old.connection.execute("""INSERT INTO install_info VALUES ('COPY public.img (id) FROM stdin;'), (E'a\\\\.')""")
    tricky = old.add_subject('\\t, \\N and "\\."')
    for kind in ("custom", "plain", "directory", "tar"):
        dumped = old.dump(tmp_path / kind, kind, *(["--quote-all-identifiers"] if kind == "tar" else []))
        (service,) = migrate_compreface(str(dumped), settings, face="largest").services
        assert (service.subjects, service.examples) == (4, 6), kind
        assert service.moved == (6 if kind == "custom" else 0)
        assert service.moved + service.moved_before == 6
    assert owners(gallery) == {example: person for person, examples in people.items() for example in examples}
    names = select(gallery, "SELECT external_id FROM users WHERE email LIKE %s", f"{tricky}@%")
    assert names == [('\\t, \\N and "\\."',)]
    # The rows of the dumps were temporary. The server drops them when it notices the end of the connection.
    left = "SELECT count(*) FROM pg_class WHERE relname IN ('img', 'embedding', 'subject')"
    assert eventually(lambda: one_value(gallery, left) == 0)


ROWS = {
    "app": ("id, name", ["7\tOffice"]),
    "model": ("id, name, app_id, api_key, type", [f"1\tDoors\t7\t{KEY}\tR"]),
    "subject": ("id, api_key, subject_name", [f"{UUID(int=2)}\t{KEY}\tAnn"]),
    "img": ("id, content", [f"{UUID(int=3)}\t\\\\x00"]),
    "embedding": ("id, subject_id, img_id", [f"{UUID(int=4)}\t{UUID(int=2)}\t{UUID(int=3)}"]),
}
LONG = "0" * (3 * MEBI)


SUBJECT = {"table": "subject"}


@pytest.mark.parametrize(
    ("table", "columns", "values", "message"),
    [
        ("img", None, [], says.DUMP_HAS_NO_TABLE.pattern(table="img")),
        ("subject", "id, subject_name", [], says.TABLE_HAS_NO_COLUMN.pattern(column="api_key", **SUBJECT)),
        ("subject", ROWS["subject"][0], ["only one"], says.ROW_IS_DAMAGED.pattern(**SUBJECT)),
        ("subject", ROWS["subject"][0], ["no-uuid\tk\tn"], says.ROW_IS_REFUSED.pattern()),
        ("subject", ROWS["subject"][0], 2 * ROWS["subject"][1], says.ROW_IS_REFUSED.pattern()),
        ("subject", LONG, [LONG], says.DUMP_HAS_NO_TABLE.pattern(**SUBJECT)),
        ("subject", ROWS["subject"][0], [LONG], says.ROW_IS_TOO_LONG.pattern(size="1,048,576", **SUBJECT)),
    ],
    ids=["no table", "no column", "few values", "no uuid", "same id twice", "long command", "long row"],
)
def test_damaged_dumps_are_refused(
    table: str,
    columns: str | None,
    values: list[str],
    message: str,
    settings: Settings,
    gallery: Gallery,
    tmp_path: Path,
) -> None:
    dump = tmp_path / "dump.sql"
    blocks = {name: copy_block(name, *block) for name, block in ROWS.items()}
    blocks[table] = copy_block(table, columns, values) if columns else ""
    dump.write_text("".join(blocks.values()))
    before = contents(gallery)
    with pytest.raises(MigrationError, match=message):
        migrate_compreface(str(dump), settings)
    assert contents(gallery) == before


@pytest.mark.usefixtures("gallery")
def test_hostile_dumps(old: CompreFace, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command of a dump runs, an image over the limit is left out, and a dump cannot fill the disk."""
    touched = tmp_path / "touched"
    commands = [f"\\! touch {touched}", f"COPY (SELECT 1) TO PROGRAM 'touch {touched}';", "DROP TABLE users CASCADE;"]
    small = settings.model_copy(update={"max_photo_bytes": MEBI})
    image = copy_block("img", "id, content", [f"{UUID(int=3)}\t\\\\x{LONG}", f"{UUID(int=5)}\t\\N"])
    blocks = {name: copy_block(name, *values) for name, values in ROWS.items()} | {"img": image}
    plain = tmp_path / "plain.sql"
    plain.write_text("\n".join([*commands, *blocks.values(), *commands]))
    (service,) = migrate_compreface(str(plain), small).services
    assert [one.error for one in service.not_moved] == ["PhotoTooLargeError"]
    assert not touched.exists()
    old.connection.execute(
        "INSERT INTO img SELECT gen_random_uuid(), decode(repeat('00', 200000), 'hex') FROM generate_series(1, 5)"
    )
    monkeypatch.setattr(dumps, "_MAX_GROWTH_BYTES", 0)
    refused: list[tuple[Path, Sentence, type[PgfaceError]]] = [
        (old.dump(tmp_path / "bomb", "custom", "--compress=9"), says.DUMP_FILLS_THE_DISK, MigrationError),
        (tmp_path / "dump.gz", says.DUMP_IS_COMPRESSED, MigrationError),
        (tmp_path / "cut", says.PG_RESTORE_CANNOT_READ, MigrationError),
        (tmp_path / "end", says.DUMP_IS_CUT_OFF, MigrationError),
    ]
    refused[1][0].write_bytes(gzip.compress(plain.read_bytes()))
    refused[2][0].write_bytes(refused[0][0].read_bytes()[:1_500])
    refused[3][0].write_text(f"COPY public.embedding ({ROWS['embedding'][0]}) FROM stdin;\n{UUID(int=4)}")
    for dump, message, kind in refused:
        with pytest.raises(kind, match=message.pattern(table="embedding")):
            migrate_compreface(str(dump), small)
