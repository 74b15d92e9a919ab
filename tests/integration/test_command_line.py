"""The commands, as a user or a program runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from galleries import ODD_SCHEMA
from PIL import Image

from pgface import Settings
from pgface.schema import init_sql

Photos = Callable[[str, int], Path]
Run = Callable[..., subprocess.CompletedProcess[str]]


def runner(environment: dict[str, str]) -> Run:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PGFACE_")}

    def run(*arguments: object, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pgface", *map(str, arguments)]
        done = subprocess.run(
            command, env=kept | environment, input=stdin, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def schema_name() -> str:
    """Commands take a second or two each, so they are run in the odder schema only."""
    return ODD_SCHEMA


@pytest.fixture
def pgface(settings: Settings, insightface_pack: Path) -> Run:
    """Runs a command in a new gallery that `pgface init` has made."""
    assert settings.database_url is not None
    run = runner(
        {
            "PGFACE_DATABASE_URL": settings.database_url.get_secret_value(),
            "PGFACE_SCHEMA": settings.schema_name,
            "PGFACE_DATA_DIR": str(settings.data_dir),
        }
    )
    assert "is ready: model buffalo_sc_q8, 0 users" in run("init", "--model", insightface_pack).stdout
    return run


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
    assert photo.keys() == {"photo", "faces"}
    (face,) = photo["faces"]
    assert face.keys() == {"box", "detection_score", "quality", "identified", "matches"}
    assert len(face["box"]) == 4
    assert face["identified"] is True
    (match,) = face["matches"]
    assert match.keys() == {"user_id", "name", "email", "similarity", "embedding_id"}
    assert match["name"] == "Colin Powell"
    with Image.open(picture) as annotated, Image.open(powell[2]) as original:
        assert annotated.size == original.size
        assert annotated.tobytes() != original.tobytes()
    assert "Colin Powell" in pgface("identify", powell[2]).stdout
    assert "unknown" in pgface("identify", photos("George_W_Bush", 1)).stdout

    verified = json.loads(pgface("verify", powell[2], "--user", "colin@example.org", "--json").stdout)
    assert verified["match"] is True
    assert verified.keys() == {"match", "similarity", "threshold", "user_id", "name", "email"}
    other = pgface("verify", photos("George_W_Bush", 1), "--user", verified["user_id"])  # an answer, not a failure
    assert other.stdout.startswith("This is not Colin Powell <colin@example.org>: similarity")
    compared = json.loads(pgface("compare", powell[0], powell[1], "--json").stdout)
    assert compared.keys() == {"match", "similarity", "threshold"}
    assert compared["match"] is True
    assert pgface("compare", powell[0], photos("George_W_Bush", 1)).stdout.startswith("These are different people")


def test_users_and_photos(pgface: Run, photos: Photos) -> None:
    assert "There are no users yet" in pgface("users", "list").stdout
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
    assert pgface("photos", "delete", photo["id"], "--yes").stdout == f"Erased photo {photo['id']}.\n"
    assert not Path(photo["file"]).exists()
    pgface("users", "delete", "colin@example.org", "--yes")
    assert json.loads(pgface("users", "list", "--json").stdout) == []


def test_a_folder(pgface: Run, faces_dir: Path, tmp_path: Path) -> None:
    for person in ("Colin_Powell", "George_W_Bush"):
        (tmp_path / "people").mkdir(exist_ok=True)
        (tmp_path / "people" / person).symlink_to(faces_dir / person)
    report = tmp_path / "report.csv"
    done = pgface("enroll", "--folder", tmp_path / "people", "--report", report)
    assert "20 photos in" in done.stdout
    assert "19 enrolled, 0 already enrolled, 1 refused." in done.stdout
    assert "3 faces were found" in done.stderr
    assert len(report.read_text().splitlines()) == 21
    again = json.loads(pgface("enroll", "--folder", tmp_path / "people", "--faces", "largest", "--json").stdout)
    assert (again["enrolled"], again["already_enrolled"], again["refused"]) == (1, 19, [])


def test_what_fails_says_why_and_ends_with_1(pgface: Run, photos: Photos, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    failed = pgface("enroll", tmp_path / "text.jpg", photos("Colin_Powell", 1), "--user", "c@example.org", code=1)
    assert "text.jpg" in failed.stderr
    assert json.loads(pgface("users", "list", "--json").stdout)[0]["embeddings"] == 1  # the other one is enrolled
    answer = json.loads(pgface("identify", tmp_path / "text.jpg", photos("Colin_Powell", 2), "--json", code=1).stdout)
    assert [photo["photo"] for photo in answer["photos"]] == [photos("Colin_Powell", 2).name]
    assert [failure["error"] for failure in answer["failed"]] == ["PhotoFormatError"]
    assert "no user with the id 99" in pgface("verify", photos("Colin_Powell", 1), "--user", 99, code=1).stderr
    assert "already in the gallery" in pgface("users", "add", "C@EXAMPLE.org", code=1).stderr
    unwritable = pgface("identify", photos("Colin_Powell", 1), "--annotate", tmp_path / "no" / "where.png", code=1)
    assert "cannot be written" in unwritable.stderr


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
        ["identify", "photo.jpg", "--top", "0"],
        ["verify", "photo.jpg"],
        ["nonsense"],
        ["users", "list", "--limit", "0"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], tmp_path: Path) -> None:
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
    assert "CPUExecutionProvider" in pgface("status").stdout


def test_settings_that_cannot_be_used(tmp_path: Path) -> None:
    run = runner({"PGFACE_DATA_DIR": str(tmp_path), "PGFACE_POOL_SIZE": "many"})
    assert "PGFACE_POOL_SIZE cannot be used" in run("status", code=1).stderr
    run = runner({"PGFACE_DATA_DIR": str(tmp_path), "PGFACE_DATABASE_URL": "postgresql//u:secret@h/db"})
    refused = run("status", code=1).stderr
    assert "PGFACE_DATABASE_URL cannot be used" in refused
    assert "secret" not in refused


def test_everything_on_the_embedded_server(insightface_pack: Path, photos: Photos, tmp_path: Path) -> None:
    run = runner({"PGFACE_DATA_DIR": str(tmp_path / "data"), "PGFACE_MODEL": str(insightface_pack)})
    assert "run `pgface init`" in run("status", code=1).stderr
    assert "of the embedded PostgreSQL 18" in run("init").stdout
    run("enroll", photos("Colin_Powell", 1), "--user", "colin@example.org")
    assert "colin@example.org" in run("identify", photos("Colin_Powell", 2)).stdout
    assert json.loads(run("status", "--json").stdout)["embedded"] is True
    assert run("postgres", "psql", "-tAc", "SELECT count(*) FROM users").stdout.strip() == "1"


def test_names_that_are_no_text_or_would_command_the_terminal(pgface: Run, photos: Photos, tmp_path: Path) -> None:
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
