"""Galleries with hostile defaults of the server, the database, the role and the environment."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import scalar_row

from pgface.accounts import COMMAND_LINE, Accounts, Client, add_administrator, create_key
from pgface.database.pool import Database, initialise
from pgface.database.sql import init_sql
from pgface.errors import DatabaseError
from pgface.gallery import Gallery
from pgface.settings import Settings
from support.commands import environment_of, process_runner, runner
from support.databases import create_database, drop_database
from support.galleries import link_pack
from support.hostile_defaults import OF_THE_DATABASE, OF_THE_ENVIRONMENT, OF_THE_ROLE
from support.photos import Photos
from support.sentences import database as says
from support.web_service import PASSWORD, V1, bearer, file, running

NAME: Final = "Zoë Łukasz 山田 太郎"


@dataclass(frozen=True)
class Galleries:
    """Settings of two galleries with hostile defaults: one for the test, and one for a restore."""

    settings: Settings
    other: Settings


def hostile_database(server: str, role: str) -> str:
    """Create a database with pgvector that a role owns, and return the role's URL."""
    url = create_database(server)
    database = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, sql.Identifier(role)))
        connection.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(role)))
        for name, value in OF_THE_DATABASE.items():
            change = sql.SQL("ALTER DATABASE {} SET {} TO {}")
            connection.execute(change.format(database, sql.Identifier(name.lower()), sql.Literal(value)))
    return make_conninfo(url, user=role)


@pytest.fixture
def hostile(
    postgres: str, tmp_path: Path, insightface_pack: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Galleries]:
    role = f"hostile {time.time_ns()}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        for name, value in OF_THE_ROLE.items():
            change = sql.SQL("ALTER ROLE {} SET {} TO {}")
            connection.execute(change.format(sql.Identifier(role), sql.Identifier(name.lower()), sql.Literal(value)))
        urls = [hostile_database(postgres, role) for _ in range(2)]
        made = [
            Settings.model_validate(
                {"database_url": url, "PGFACE_SCHEMA": 'Odd "schema"', "data_dir": tmp_path / f"data{number}"}
            )
            for number, url in enumerate(urls)
        ]
        for settings in made:
            link_pack(insightface_pack, settings.models_dir)
        with monkeypatch.context() as environment:
            for name, value in OF_THE_ENVIRONMENT.items():
                environment.setenv(name, value)
            yield Galleries(*made)
        for url in urls:
            drop_database(postgres, url)
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_every_session_has_the_settings_that_the_code_relies_on(hostile: Galleries) -> None:
    initialise(hostile.settings)
    pooled = hostile.settings.model_copy(update={"pooling": "transaction"})
    for settings in (hostile.settings, pooled):
        with Database.open(settings) as database:
            found = {}
            with database.transaction() as connection:
                for name in (*OF_THE_DATABASE, *OF_THE_ROLE, "transaction_read_only"):
                    ((found[name],),) = connection.execute(f"SHOW {name}".encode()).fetchall()
            assert found | {"search_path": "", "TimeZone": ""} == found | {
                "DateStyle": "ISO, MDY",
                "IntervalStyle": "postgres",
                "bytea_output": "hex",
                "extra_float_digits": "1",
                "quote_all_identifiers": "off",
                "standard_conforming_strings": "on",
                "backslash_quote": "safe_encoding",
                "transform_null_equals": "off",
                "array_nulls": "on",
                "check_function_bodies": "on",
                "client_encoding": "UTF8",
                "row_security": "on",
                "statement_timeout": "0",
                "lock_timeout": "10s",
                "idle_in_transaction_session_timeout": "0",
                "idle_session_timeout": "0" if settings is not pooled else found["idle_session_timeout"],
                "transaction_read_only": "off",
                "search_path": "",
                "TimeZone": "",
            }
            assert found["TimeZone"] == "Asia/Kathmandu"  # the server's zone, for all clients
            with database.transaction() as connection:
                connection.execute("SELECT pg_sleep(0.5)")
                time.sleep(0.5)
                assert connection.execute("SHOW transaction_isolation").fetchone() == ("read committed",)
            # A pooler controls the session between transactions.
            time.sleep(0.7 if settings is hostile.settings else 0)
            with database.transaction() as connection:
                assert connection.execute("SELECT 'Ł' || E'\\\\'").fetchone() == ("Ł\\",)


def test_the_functions_of_a_gallery(hostile: Galleries, photos: Photos, insightface_pack: Path, tmp_path: Path) -> None:
    settings = hostile.settings
    run = runner(environment_of(settings), tmp_path)
    run("init", "--model", insightface_pack)
    folder = tmp_path / "people"
    for person, number in (("Colin_Powell", 1), ("Tony_Blair", 3)):
        (folder / person).mkdir(parents=True)
        (folder / person / "photo.jpg").write_bytes(photos(person, number).read_bytes())
    run("enroll", "--folder", folder)
    with Gallery.open(settings) as gallery:
        user = gallery.enroll(photos("Ariel_Sharon", 1), "zoë@example.org", name=NAME, face="largest").user
        assert gallery.user("zoë@example.org").name == NAME
        assert gallery.users(text="ŁUKASZ") == [user]
        (face,) = gallery.identify(photos("Colin_Powell", 2)).faces
        assert face.matches[0].name == "Colin Powell"
        assert gallery.verify(photos("Tony_Blair", 7), face.matches[0].user_id).match is False
        random = np.random.default_rng(1).normal(size=(1500, 512))
        ids = [gallery.add_user(f"u{number}@example.org").id for number in range(3)]
        assert gallery.load_embeddings([ids[number % 3] for number in range(1500)], random) == 1500
        assert gallery.fit_search("hnsw").method == "hnsw"
        accounts = Accounts(gallery)
        accounts.set_password(user.id, PASSWORD, client=COMMAND_LINE)
        login = accounts.log_in("zoë@example.org", PASSWORD, client=Client(address="192.0.2.1"))
        assert accounts.who(login.token).name == NAME
        assert gallery.status().embeddings == 1503
    for command in (
        ("index", "build", "--method", "hnsw"),
        ("index", "status"),
        ("users", "list"),
        ("audit", "list"),
    ):
        run(*command)
    assert NAME in run("users", "list").stdout
    findings = json.loads(run("doctor", "--json").stdout)["findings"]
    states = {finding["check"]: finding["state"] for finding in findings}
    assert states["tables and functions"] == states["server"] == states["photo files"] == "fine"
    archive = tmp_path / "backup.tar"
    run("backup", archive)
    restored = runner(environment_of(hostile.other), tmp_path)
    restored("restore", archive)
    with Gallery.open(settings) as gallery, Gallery.open(hostile.other) as again:
        assert again.user("zoë@example.org").name == NAME
        assert again.status().embeddings == 1503
        filters = ("user_id", "users", "event", "outcome", "before")
        everything = dict.fromkeys(filters) | {"limit": 1000}
        entries = [one.database.read("select_audit", everything, row_factory=scalar_row) for one in (gallery, again)]
        assert entries[0] == entries[1]
        of = {"after": 0, "user_id": user.id, "limit": 10}
        same = [
            one.database.read("select_embeddings_of_user", of, row_factory=psycopg.rows.tuple_row)
            for one in (gallery, again)
        ]
        assert same[0][0][:-1] == same[1][0][:-1]
        assert np.array_equal(same[0][0][-1].to_numpy(), same[1][0][-1].to_numpy())
    export = tmp_path / "export"
    run("export", export)
    run("users", "delete", user.id, "--yes")
    assert process_runner(environment_of(settings) | OF_THE_ENVIRONMENT, tmp_path)("users", "list").stdout


def test_the_service(hostile: Galleries, photos: Photos, insightface_pack: Path, tmp_path: Path) -> None:
    with Gallery.create(hostile.settings, model=str(insightface_pack)) as gallery:
        key = create_key(gallery.database, "tests", ["enroll", "identify", "admin"], Client())[0]
        administrator = Accounts(gallery).register("ada@example.org", PASSWORD)
        add_administrator(gallery.database, administrator.id, Client())
    environment = environment_of(hostile.settings) | OF_THE_ENVIRONMENT
    with running(tmp_path / "service", environment, "--workers", "1") as service, service.client() as client:
        headers, of = bearer(key), {"email": "zoë@example.org", "name": NAME}
        picture = {"photo": file(photos("Colin_Powell", 1).read_bytes())}
        assert client.post(f"{V1}/photos", headers=headers, files=picture, data=of).json()["user"]["name"] == NAME
        login = client.post(f"{V1}/auth/login", json={"email": "ada@example.org", "password": PASSWORD})
        time.sleep(0.7)
        assert client.get(f"{V1}/audit", headers=bearer(login.json()["token"])).json()["entries"]
        probe = {"photo": file(photos("Colin_Powell", 2).read_bytes())}
        (face,) = client.post(f"{V1}/identify", headers=headers, files=probe).json()["faces"]
        assert face["matches"][0]["name"] == NAME
        assert client.get("/readyz").status_code == 200


def test_a_database_without_a_text_encoding_is_refused(postgres: str, tmp_path: Path) -> None:
    """No gallery is created in such a database. In an existing gallery, invalid text is an error."""
    name = f"ascii_{time.time_ns()}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        make = sql.SQL("CREATE DATABASE {} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
        connection.execute(make.format(sql.Identifier(name)))
    url = make_conninfo(postgres, dbname=name)
    settings = Settings.model_validate({"database_url": url, "data_dir": tmp_path})
    try:
        with pytest.raises(DatabaseError, match=says.DATABASE_IS_SQL_ASCII.pattern()):
            initialise(settings)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(init_sql().encode())
            connection.execute("INSERT INTO users (name, email, password) VALUES (%s, 'x@example.org', '!')", (NAME,))
        with Gallery.open(settings) as gallery:
            assert [user.name for user in gallery.users()] == [NAME]
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("UPDATE users SET name = encode(E'\\\\xff', 'escape')")
                connection.execute("UPDATE users SET name = convert_from(E'\\\\xe9', 'SQL_ASCII')")
            with pytest.raises(DatabaseError, match=says.TEXT_IS_NOT_UTF8.pattern()):
                gallery.users()
    finally:
        drop_database(postgres, url)


def test_disabled_triggers_are_enabled_or_refused(postgres: str, tmp_path: Path) -> None:
    """Only a superuser's session can enable them."""
    url = create_database(postgres)
    role = f"replica {time.time_ns()}"
    settings = Settings.model_validate({"database_url": url, "data_dir": tmp_path})
    initialise(settings)
    name = sql.Identifier(role)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(name))
        connection.execute(sql.SQL("ALTER ROLE {} SET session_replication_role = replica").format(name))
        of_role = settings.model_copy(
            update={
                "database_url": Settings.model_validate({"database_url": make_conninfo(url, user=role)}).database_url
            }
        )
        with Database.open(of_role) as database, database.transaction() as opened:
            assert opened.execute("SHOW session_replication_role").fetchone() == ("origin",)
        connection.execute(sql.SQL("ALTER ROLE {} NOSUPERUSER").format(name))
        with pytest.raises(DatabaseError, match=says.TRIGGERS_ARE_OFF.pattern()):
            Database.open(of_role)
        connection.execute(sql.SQL("DROP ROLE {}").format(name))
    drop_database(postgres, url)
