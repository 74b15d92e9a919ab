"""The commands of the gallery and of faces, as a user or a program runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgface import Settings
from pgface.database.sql import init_sql
from pgface.text import runs_on
from support.commands import Run, process_runner, runner, without_settings
from support.embedded_server import stopped_at_the_end
from support.galleries import close_database
from support.photos import Photos
from support.sentences import commands as says
from support.sentences.gallery import EMAIL_IS_TAKEN, NO_USER_WITH_ID, RUN_INIT
from support.sentences.photos import SEVERAL_FACES


@pytest.fixture
def pgface(environment: dict[str, str], insightface_pack: Path, tmp_path: Path) -> Run:
    """Run commands in a new gallery of `pgface init`, and in a temporary folder."""
    run = runner(environment, tmp_path)
    ready = says.GALLERY_IS_READY_WITH_USERS.format(model="buffalo_sc_q8", users=0)
    assert ready in run("init", "--model", insightface_pack).stdout
    return run


def test_init_says_where_the_data_is_without_the_password(environment: dict[str, str], tmp_path: Path) -> None:
    url = make_conninfo(environment["PGFACE_DATABASE_URL"], password="not-for-show")
    place = conninfo_to_dict(url)
    done = runner(environment | {"PGFACE_DATABASE_URL": url}, tmp_path)("init", "--model", "sface")
    said = says.PLACE_OF_ROWS_AND_CROPS.pattern(
        rows=f"the database {place['dbname']} at {place['host']}", crops=environment["PGFACE_DATA_DIR"]
    )
    assert re.search(said, done.stdout)
    assert "not-for-show" not in done.stdout + done.stderr


def test_enroll_identify_verify_compare(pgface: Run, photos: Photos, tmp_path: Path) -> None:
    powell = [photos("Colin_Powell", number) for number in (1, 2, 3)]
    enrolled = json.loads(
        pgface("enroll", *powell[:2], "--user", "colin@example.org", "--name", "Colin Powell", "--json").stdout
    )
    assert [(e["name"], e["email"], e["added"]) for e in enrolled["enrolled"]] == [
        ("Colin Powell", "colin@example.org", True)
    ] * 2
    assert enrolled["failed"] == []

    picture = tmp_path / "answer.png"
    answer = json.loads(pgface("identify", powell[2], "--annotate", picture, "--json").stdout)
    assert answer.keys() == {"model", "threshold", "photos"}
    assert (answer["model"], answer["threshold"]) == ("buffalo_sc_q8", 0.4)
    (photo,) = answer["photos"]
    assert photo.keys() == {"photo", "faces_found", "faces"}
    (face,) = photo["faces"]
    assert face.keys() == {"box", "detection_score", "quality", "identified", "matches"}
    assert len(face["box"]) == 4
    assert face["identified"] is True
    (match,) = face["matches"]
    assert match.keys() == {"user_id", "name", "email", "similarity", "confidence", "embedding_id", "external_id"}
    assert match["name"] == "Colin Powell"
    with Image.open(picture) as annotated, Image.open(powell[2]) as original:
        assert annotated.size == original.size
        assert annotated.tobytes() != original.tobytes()
    assert "Colin Powell" in pgface("identify", powell[2]).stdout
    assert "unknown" in pgface("identify", photos("George_W_Bush", 1)).stdout

    verified = json.loads(pgface("verify", powell[2], "--user", "colin@example.org", "--json").stdout)
    assert verified["match"] is True
    assert verified.keys() == {"match", "similarity", "threshold", "confidence", "user_id", "name", "email"}
    # Another person is an answer and not an error, so the exit code is 0.
    other = pgface("verify", photos("George_W_Bush", 1), "--user", verified["user_id"])
    assert other.stdout.startswith(says.THIS_IS_NOT_THE_USER.format(name="Colin Powell", email="colin@example.org"))
    compared = json.loads(pgface("compare", powell[0], powell[1], "--json").stdout)
    assert compared.keys() == {"match", "similarity", "threshold", "confidence"}
    assert compared["match"] is True
    assert pgface("compare", powell[0], photos("George_W_Bush", 1)).stdout.startswith(says.DIFFERENT_PEOPLE)


def test_users_and_photos(pgface: Run, photos: Photos) -> None:
    assert says.NO_USERS_YET in pgface("users", "list").stdout
    user = json.loads(pgface("users", "add", "colin@example.org", "--name", "Colin [red]Powell[/]", "--json").stdout)
    pgface("enroll", photos("Colin_Powell", 1), "--user", user["id"])
    assert "Colin [red]Powell[/]" in pgface("users", "list").stdout
    (listed,) = json.loads(pgface("users", "list", "--json").stdout)
    assert (listed["photos"], listed["embeddings"]) == (1, 1)
    shown = json.loads(pgface("users", "show", "colin@example.org", "--json").stdout)
    (photo,) = shown["photo_files"]
    assert Path(photo["file"]).is_file()
    assert pgface("photos", "list", "--user", "colin@example.org").stdout.count("colin@example.org") == 1

    assert "Aborted" in pgface("photos", "delete", photo["id"], stdin="n\n", code=1).stderr
    assert Path(photo["file"]).is_file()
    deleted = says.PHOTO_DELETED.format(photo=photo["id"])
    assert pgface("photos", "delete", photo["id"], "--yes").stdout == f"{deleted}\n"
    assert not Path(photo["file"]).exists()
    pgface("users", "delete", "colin@example.org", "--yes")
    assert json.loads(pgface("users", "list", "--json").stdout) == []


@pytest.fixture
def people(faces_dir: Path, tmp_path: Path) -> Path:
    """Return a folder of two people with ten photos each. One of the photos has three faces."""
    folder = tmp_path / "people"
    folder.mkdir()
    for person in ("Colin_Powell", "George_W_Bush"):
        (folder / person).symlink_to(faces_dir / person)
    return folder


def test_a_folder(pgface: Run, people: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.csv"
    done = pgface("enroll", "--folder", people, "--report", report)
    assert says.PHOTOS_OF_THE_FOLDER.format(photos=20) in done.stdout
    assert says.ENROLLED_AND_REFUSED.format(enrolled=19, already=0, refused=1) in done.stdout
    assert SEVERAL_FACES.is_in(done.stderr, count=3)
    assert len(report.read_text().splitlines()) == 21
    assert report.stat().st_mode & 0o777 == 0o600
    again = json.loads(pgface("enroll", "--folder", people, "--faces", "largest", "--json").stdout)
    assert (again["enrolled"], again["already_enrolled"], again["refused"]) == (1, 19, [])
    assert again["report"] is None
    assert [file for file in tmp_path.rglob("*.csv") if file != report] == []


def test_many_refusals_of_a_folder(pgface: Run, tmp_path: Path) -> None:
    for person in ("ann", "bob"):
        (tmp_path / "people" / person).mkdir(parents=True)
        for number in range(6):
            (tmp_path / "people" / person / f"{number}.jpg").write_text("no photo")
    done = pgface("enroll", "--folder", "people")
    assert "bob/0.jpg: " in done.stderr  # not "0.jpg", because both people have one
    assert len(done.stderr.splitlines()) == 11
    more = says.MORE_REFUSALS.format(more=2, count=12, error="PhotoFormatError")
    assert done.stderr.endswith(f"{more}\n")
    assert list(tmp_path.glob("*.csv")) == []
    done = pgface("enroll", "--folder", "people", "--report", "report.csv")
    assert says.MORE_REFUSALS_ARE_IN_THE_REPORT.format(more=2, count=12, error="PhotoFormatError") in done.stderr
    report = says.REPORT_OF_EACH_PHOTO.format(report="report.csv")
    assert done.stdout.endswith(f"{report}\n")
    assert len((tmp_path / "report.csv").read_text().splitlines()) == 13


def test_an_unwritable_report_is_an_error_before_the_run(pgface: Run, people: Path, tmp_path: Path) -> None:
    refused = pgface("enroll", "--folder", people, "--report", tmp_path / "no" / "report.csv", code=1)
    assert says.REPORT_CANNOT_BE_WRITTEN.format(report="report.csv") in refused.stderr
    assert says.NO_USERS_YET in pgface("users", "list").stdout
    report = tmp_path / "report.csv"
    pgface("enroll", "--folder", tmp_path / "nowhere", "--report", report, code=1)
    assert not report.exists()
    report.write_text("of an earlier run")
    pgface("enroll", "--folder", tmp_path / "nowhere", "--report", report, code=1)
    assert report.read_text() == "of an earlier run"


@pytest.mark.slow
@pytest.mark.usefixtures("pgface")
@pytest.mark.parametrize("how", ["Ctrl-C", "the server goes away"])
def test_an_interrupted_folder_run(environment: dict[str, str], people: Path, tmp_path: Path, how: str) -> None:
    report = tmp_path / "report.csv"
    command = [sys.executable, "-m", "pgface", "enroll", "--folder", str(people), "--report", str(report)]
    variables = without_settings() | environment | {"PGFACE_CONNECT_TIMEOUT": "2"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=variables, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True) as process:
        end = time.monotonic() + 60
        while not report.exists() and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
        if how == "Ctrl-C":
            process.send_signal(signal.SIGINT)
        else:
            close_database(environment["PGFACE_DATABASE_URL"])
        printed, stderr = process.communicate(timeout=60)
    # A shell shows 130 for both. Python ends by the signal itself if that arrives during the import of a module.
    codes = (130, -signal.SIGINT) if how == "Ctrl-C" else (1,)
    assert process.returncode in codes, stderr
    assert printed == ""
    assert "Traceback" not in stderr
    assert says.SAME_COMMAND_CONTINUES in stderr
    assert not report.exists()


def test_errors_have_a_reason_and_exit_with_1(pgface: Run, photos: Photos, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    failed = pgface("enroll", tmp_path / "text.jpg", photos("Colin_Powell", 1), "--user", "c@example.org", code=1)
    assert "text.jpg" in failed.stderr
    assert json.loads(pgface("users", "list", "--json").stdout)[0]["embeddings"] == 1  # the second photo is enrolled
    answer = json.loads(pgface("identify", tmp_path / "text.jpg", photos("Colin_Powell", 2), "--json", code=1).stdout)
    assert [photo["photo"] for photo in answer["photos"]] == [str(photos("Colin_Powell", 2))]
    assert [failure["error"] for failure in answer["failed"]] == ["PhotoFormatError"]
    unknown = pgface("verify", photos("Colin_Powell", 1), "--user", 99, code=1)
    assert NO_USER_WITH_ID.format(id=99) in unknown.stderr
    taken = EMAIL_IS_TAKEN.format(email="c@example.org")
    assert taken in pgface("users", "add", "C@EXAMPLE.org", code=1).stderr
    for number in (99999999999, "9" * 5000, "0" * 5000):
        assert NO_USER_WITH_ID.format(id="") in pgface("users", "show", number, code=1).stderr


def test_an_unwritable_picture_does_not_hide_the_answer(pgface: Run, photos: Photos, tmp_path: Path) -> None:
    pgface("enroll", photos("Colin_Powell", 1), "--user", "c@example.org")
    probes = [photos("Colin_Powell", 1), photos("Colin_Powell", 2)]
    unwritable = pgface("identify", *probes, "--annotate", tmp_path / "no" / "where.png", code=1)
    assert unwritable.stdout.count("c@example.org") == 2
    assert unwritable.stderr.count(says.PICTURE_CANNOT_BE_WRITTEN) == 1


def test_photos_are_named_by_the_given_paths(pgface: Run, photos: Photos, tmp_path: Path) -> None:
    for folder, number in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.jpg").write_bytes(photos("Colin_Powell", number).read_bytes())
        (tmp_path / folder / "bad.jpg").write_text("no photo")
    given = ["a/1.jpg", "b/1.jpg"]
    enrolled = json.loads(pgface("enroll", *given, "--user", "c@example.org", "--json").stdout)
    assert [photo["photo"] for photo in enrolled["enrolled"]] == given
    assert [photo["photo"] for photo in json.loads(pgface("identify", *given, "--json").stdout)["photos"]] == given
    table = pgface("identify", *given, "b/bad.jpg", code=1)
    assert all(photo in table.stdout for photo in given)
    assert table.stderr.startswith("b/bad.jpg: ")


def test_an_error_of_all_photos_is_printed_once(pgface: Run, photos: Photos, tmp_path: Path) -> None:
    probes = [photos("Colin_Powell", number) for number in (1, 2, 3)]
    assert len(pgface("enroll", *probes, "--user", 99, code=1).stderr.splitlines()) == 1
    without_model = {"PGFACE_DATA_DIR": str(tmp_path / "other")}
    for command in (["identify"], ["enroll", "--user", "c@example.org"]):
        failed = pgface(*command, *probes, code=1, more=without_model)
        assert len(failed.stderr.splitlines()) == 1
        assert "buffalo_sc_q8" in failed.stderr


@pytest.mark.slow
def test_closed_streams_and_streams_that_cannot_encode_a_name(pgface: Run, environment: dict[str, str]) -> None:
    pgface("users", "add", "joao@example.org", "--name", "Jo\u00e3o")
    pgface = process_runner(environment)
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    assert "Jo\\xe3o" in pgface("users", "list", more=ascii_only).stdout
    assert "Jo\\xe3o" in pgface("users", "show", "Jo\u00e3o@example.org", more=ascii_only, code=1).stderr
    assert pgface("status", streams=">&-").stderr == ""
    assert pgface("status", "--json", streams=">&-").stderr == ""
    pgface("users", "show", "nobody@example.org", streams="2>&-", code=1)
    if Path("/dev/full").exists():
        full = pgface("status", "--json", streams=">/dev/full", code=1)
        assert says.DISK_OF_THE_OUTPUT_IS_FULL in full.stderr
    assert "Aborted" in pgface("users", "delete", "joao@example.org", streams="<&-", code=1).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["enroll"],
        ["enroll", "photo.jpg"],
        ["enroll", "photo.jpg", "--user", "a@example.org", "--folder", "x"],
        ["enroll", "photo.jpg", "--user", "a@example.org", "--user", "b@example.org"],
        ["enroll", "--folder", "x", "--faces", "all"],
        ["identify"],
        ["identify", "photo.jpg", "--threshold", "2"],
        ["identify", "photo.jpg", "--threshold", "nan"],
        ["identify", "photo.jpg", "--top", "0"],
        ["identify", "photo.jpg", "--top", "99999999999"],
        ["identify", "photo.jpg", "--annotate", "picture.psd"],
        ["identify", "photo.jpg", "other.jpg", "--annotate", "."],
        ["enroll", "--folder", ""],
        ["verify", "photo.jpg"],
        ["nonsense"],
        ["users", "list", "--limit", "0"],
        ["users", "list", "--limit", "2147483648"],
        ["photos", "list", "--after", "2147483648"],
        ["photos", "delete", "9" * 5000],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], tmp_path: Path) -> None:
    runner({"PGFACE_DATA_DIR": str(tmp_path)})(*arguments, code=2)
    assert list(tmp_path.iterdir()) == []


def test_schema_and_version_need_no_database(tmp_path: Path) -> None:
    run = runner({"PGFACE_DATA_DIR": str(tmp_path / "none")})
    assert run("schema").stdout == init_sql()
    run("schema", "--output", tmp_path / "init.sql")
    assert (tmp_path / "init.sql").read_text() == init_sql()
    assert run("--version").stdout.startswith("pgface 0.")
    assert not (tmp_path / "none").exists()


def test_status(pgface: Run) -> None:
    status: dict[str, Any] = json.loads(pgface("status", "--json").stdout)
    assert status["model"] == "buffalo_sc_q8"
    assert status["execution_provider"] == "CPUExecutionProvider"
    assert status["search"] == "exact"
    assert status["runtimes"]["detection"] == "ONNX Runtime (CPU)"
    assert status["runtimes"]["embedding"] in ("ONNX Runtime (CPU)", "OpenVINO (CPU)")
    assert runs_on(status["runtimes"]) in pgface("status").stdout


def test_unusable_settings(tmp_path: Path) -> None:
    run = runner({"PGFACE_DATA_DIR": str(tmp_path), "PGFACE_POOL_SIZE": "many"})
    assert says.SETTING_CANNOT_BE_USED.format(variable="PGFACE_POOL_SIZE") in run("status", code=1).stderr
    run = runner({"PGFACE_DATA_DIR": str(tmp_path), "PGFACE_DATABASE_URL": "postgresql//u:secret@h/db"})
    refused = run("status", code=1).stderr
    assert says.SETTING_CANNOT_BE_USED.format(variable="PGFACE_DATABASE_URL") in refused
    assert "secret" not in refused
    for seconds in ("inf", "nan", "1e9"):
        run = runner({"PGFACE_DATA_DIR": str(tmp_path), "PGFACE_CONNECT_TIMEOUT": seconds})
        unusable = says.SETTING_CANNOT_BE_USED.format(variable="PGFACE_CONNECT_TIMEOUT")
        assert unusable in run("status", code=1).stderr


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, field in Settings.model_fields.items():
        monkeypatch.setenv(str(field.validation_alias or f"PGFACE_{name.upper()}"), "")
    empty = Settings()
    for name in Settings.model_fields:
        monkeypatch.delenv(f"PGFACE_{name.upper()}", raising=False)
    monkeypatch.delenv("PGFACE_SCHEMA")
    assert empty == Settings()


@pytest.mark.slow
def test_everything_on_the_embedded_server(insightface_pack: Path, photos: Photos, tmp_path: Path) -> None:
    run = process_runner({"PGFACE_DATA_DIR": str(tmp_path / "data"), "PGFACE_MODEL": str(insightface_pack)})
    assert RUN_INIT in run("status", code=1).stderr
    made = run("init").stdout
    assert says.GALLERY_IS_EMBEDDED.format(version=18) in made
    data = tmp_path / "data"
    assert says.PLACE_OF_ROWS_AND_CROPS.is_in(made, rows=data / "postgres", crops=data / "photos")
    run("enroll", photos("Colin_Powell", 1), "--user", "colin@example.org")
    with stopped_at_the_end(data / "postgres"):
        run("postgres", "start")  # otherwise each command starts and stops the server
        assert "colin@example.org" in run("identify", photos("Colin_Powell", 2)).stdout
        assert json.loads(run("status", "--json").stdout)["embedded"] is True
        assert run("postgres", "psql", "-tAc", "SELECT count(*) FROM users").stdout.strip() == "1"
        run("postgres", "stop")


def test_undecodable_names_and_control_characters(pgface: Run, photos: Photos, tmp_path: Path) -> None:
    photo = tmp_path / os.fsdecode(b"caf\xe9 \x1b[31m.jpg")
    photo.write_bytes(photos("Colin_Powell", 1).read_bytes())
    enrolled = json.loads(pgface("enroll", photo, "--user", "colin@example.org", "--json").stdout)
    assert enrolled["enrolled"][0]["added"] is True
    (stored,) = json.loads(pgface("photos", "list", "--json").stdout)
    assert stored["filename"] == "caf? \x1b[31m.jpg"
    listed = pgface("photos", "list").stdout
    assert "\x1b[31m" not in listed
    assert "caf? \N{REPLACEMENT CHARACTER}[31m.jpg" in listed
    answer = pgface("identify", photo).stdout
    assert "\x1b[31m" not in answer
    assert "colin@example.org" in answer
