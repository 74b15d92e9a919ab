"""The output of commands: words and times with a zone for people, and only JSON on stdout for programs."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from pgface.gallery import Gallery
from pgface.gallery.users import full_name, shown_email
from pgface.settings import Settings
from pgface.text import counted
from support.commands import Run, environment_of, without_settings
from support.photos import Photos

BLAIR = "Tony_Blair"
LONG_EMAIL = f"{'a-long-address-' * 10}@{'department.' * 5}example.org"
LONG_NAME = "Pablo Diego José Francisco de Paula Juan Nepomuceno María de los Remedios Cipriano " * 2


@pytest.fixture
def filled(gallery: Gallery, photos: Photos) -> Gallery:
    gallery.enroll(photos(BLAIR, 2), "tony-blair@pgface.invalid", name="Tony Blair")
    gallery.add_user(LONG_EMAIL, LONG_NAME.strip())
    return gallery


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 photos"), (1, "1 photo"), (2, "2 photos"), (-1, "-1 photos"), (1_200, "1,200 photos")]
)
def test_one_is_counted_in_the_singular(number: int, words: str) -> None:
    assert counted(number, "photo") == words


def test_an_irregular_plural() -> None:
    assert [counted(number, "person is", "people are") for number in (1, 3)] == ["1 person is", "3 people are"]


def test_commands_count_in_the_singular(filled: Gallery, run: Run) -> None:
    assert " 1 users" not in run("init").stdout
    assert "with 1 photo." in run("users", "delete", 1, "--yes").stdout
    assert filled.users()[0].name == LONG_NAME.strip()


def test_status_has_words_in_place_of_field_names(filled: Gallery, run: Run) -> None:
    printed = run("status").stdout
    for key in json.loads(run("status", "--json").stdout):
        assert "_" not in key or (key not in printed and key.replace("_", " ") not in printed), key
    assert "True" not in printed
    assert "None" not in printed
    assert re.search(r"^people +2 *$", printed, re.MULTILINE)
    assert filled.status().schema in printed


@pytest.mark.parametrize("email", ["alice@pgface.invalid", "user-7@legacy.invalid"])
def test_an_invented_email_is_not_shown(email: str) -> None:
    assert (shown_email(email), full_name("Alice", email)) == (None, "Alice")
    assert shown_email("alice@example.org") == "alice@example.org"
    assert full_name("Alice", "alice@example.org") == "Alice <alice@example.org>"


def test_tables_show_no_invented_email(filled: Gallery, photos: Photos, run: Run) -> None:
    probe = photos(BLAIR, 4)
    user = filled.users()[0].id
    for command in (
        ["users", "list"],
        ["users", "show", user],
        ["photos", "list"],
        ["identify", probe],
        ["verify", probe, "--user", user],
        ["enroll", probe, "--user", user],
    ):
        printed = run(*command).stdout
        assert "Tony Blair" in printed or command[0] == "photos"
        assert ".invalid" not in printed, command
    assert json.loads(run("users", "list", "--json").stdout)[0]["email"] == "tony-blair@pgface.invalid"


def test_a_row_is_one_line_even_with_a_long_name(filled: Gallery, run: Run) -> None:
    (line,) = [line for line in run("users", "list").stdout.splitlines() if line.startswith("2 ")]
    assert LONG_EMAIL in line
    assert LONG_NAME.strip() in line
    assert len(filled.users()) == 2


ZONES = ["Asia/Kathmandu", "UTC", "America/St_Johns"]


@pytest.mark.parametrize("zone", ZONES)
def test_times_have_a_zone(filled: Gallery, connection: Connection, run: Run, zone: str) -> None:
    """Columns without a time zone have times of the server's zone."""
    database = connection.info.dbname
    filled.close()
    connection.execute(f"ALTER DATABASE \"{database}\" SET TimeZone = '{zone}'".encode())
    connection.execute("SELECT set_config('TimeZone', %s, false)", (zone,))
    connection.execute("UPDATE users SET created_at = '2026-01-02 03:04:05+00'::timestamptz")
    for printed in (run("users", "list").stdout, run("users", "show", 1).stdout):
        assert "2026-01-02 03:04:05+00:00" in printed
    for user in json.loads(run("users", "list", "--json").stdout):
        assert datetime.fromisoformat(user["created_at"]) == datetime.fromisoformat("2026-01-02T03:04:05+00:00")


def test_every_time_that_is_printed_has_an_offset(filled: Gallery, run: Run) -> None:
    run("keys", "create", "door", "--scope", "identify")
    run("users", "set-password", 1, stdin="correct horse battery staple\n")
    run("admins", "add", 1)
    user = filled.users()[0].id
    commands = ["users list", f"users show {user}", "photos list", "keys list", "audit list", "admins list"]
    for command in commands:
        printed = run(*command.split()).stdout
        times = re.findall(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d\S*", printed)
        assert times, command
        assert all(re.fullmatch(r"\S+ \d\d:\d\d:\d\d\+00:00", time) for time in times), times
        for text in _times(json.loads(run(*command.split(), "--json").stdout)):
            assert datetime.fromisoformat(text).tzinfo is not None, (command, text)


def _times(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [time for part in value.values() for time in _times(part)]
    if isinstance(value, list):
        return [time for part in value for time in _times(part)]
    return [value] if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value) else []


def test_the_repr_of_results_is_short(filled: Gallery, photos: Photos) -> None:
    probe = photos(BLAIR, 4)
    found = filled.identify(probe)
    results: list[object] = [found, found.faces[0], *filled.faces(probe), filled.verify(probe, 1)]
    results += [filled.compare(probe, probe), filled.enroll(probe, 1), filled.users()[0], filled.photos()[0]]
    for result in results:
        assert "array" not in repr(result)
        assert "\n" not in repr(result)
        assert len(repr(result)) < 500
    assert "Tony Blair" in repr(found)


def test_doctor_and_index_status_agree_on_the_vacuum(filled: Gallery, connection: Connection, run: Run) -> None:
    assert filled.users()
    assert re.search(r"^last vacuum +never", run("index", "status").stdout, re.MULTILINE)
    assert "never vacuumed" in run("doctor", "--only", "vacuum").stdout
    connection.execute("VACUUM face_embeddings")
    assert not re.search(r"^last vacuum +never", run("index", "status").stdout, re.MULTILINE)
    assert "never vacuumed" not in run("doctor", "--only", "vacuum").stdout


def test_enroll_a_folder_from_an_unwritable_working_directory(
    gallery: Gallery, faces_dir: Path, settings: Settings, tmp_path: Path
) -> None:
    people, here = tmp_path / "people", tmp_path / "here"
    (people / BLAIR).mkdir(parents=True)
    (people / BLAIR / "a.jpg").symlink_to(faces_dir / BLAIR / "Tony_Blair_0002.jpg")
    here.mkdir(mode=0o500)
    command = [sys.executable, "-m", "pgface", "enroll", "--folder", str(people)]
    environment = {**without_settings(), **environment_of(settings)}
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=True)
    assert "1 photo in" in done.stdout
    assert list(here.iterdir()) == []
    assert gallery.users()[0].photos == 1


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    "command",
    ["status", "users list", "photos list", "thresholds", "index status", "doctor", "models list", "keys list"],
)
def test_only_json_is_on_stdout(run: Run, command: str) -> None:
    json.loads(run(*command.split(), "--json", code=None).stdout)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("variables", "colours"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=["colours", "NO_COLOR"]
)
def test_colours_are_for_terminals(settings: Settings, variables: dict[str, str], colours: bool) -> None:
    """NO_COLOR switches them off."""
    environment = {**without_settings(), **environment_of(settings), "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    failing = [sys.executable, "-m", "pgface", "users", "show", "99"]
    piped = subprocess.run(failing, env=environment, capture_output=True, check=False)
    assert b"\x1b" not in piped.stdout + piped.stderr
    terminal, inside = pty.openpty()
    with os.fdopen(terminal, "rb", buffering=0) as screen, os.fdopen(inside, "wb") as end:
        subprocess.run(failing, env=environment | variables, stdout=end, stderr=end, check=False)
        seen = screen.read(10_000)
    assert (b"\x1b[31m" in seen) == colours
