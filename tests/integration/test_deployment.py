"""The deployment of compose.yaml without containers, on the embedded PostgreSQL 16: its steps, files and settings.

The server is set up as by the entry point of the official PostgreSQL image. It runs initdb with the password's file,
adds the line for SCRAM to pg_hba.conf, and creates the database. While no client can connect, psql runs the scripts of
/docker-entrypoint-initdb.d as the first user. Then the server starts with the command of the service.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from ruamel.yaml import YAML

from pgface.database.embedded.cluster import ENVIRONMENT, binaries
from pgface.database.sql import migrations
from pgface.errors import DatabaseAccessError
from pgface.gallery import Gallery
from pgface.operations.deployment import Owner, make_secrets
from pgface.settings import Settings
from support.commands import Run, process_runner, runner
from support.galleries import rows
from support.pgbouncer import running, user_for
from support.sentences import Sentence, commands
from support.sentences import service as says
from support.serve import serving_anew
from support.users import as_user

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 on the loopback interface"),
]


@dataclass(frozen=True, slots=True)
class Machine:
    """A folder and an address in place of a network of containers, and the user who runs the server's programs."""

    folder: Path
    address: str
    user: tuple[int, int] | None

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def run(self, program: str, *arguments: object, stdin: str = "") -> str:
        uid, gid = self.user or (None, None)
        groups: list[int] | None = None if self.user is None else []
        with (self.folder / "output").open("w+") as output:  # a started server keeps it open
            done = subprocess.run(
                [str(binaries(16) / program), *map(str, arguments)],
                input=stdin,
                stdout=output,
                stderr=output,
                text=True,
                cwd=self.folder,
                env=ENVIRONMENT,
                user=uid,
                group=gid,
                extra_groups=groups,
                check=False,
            )
            output.seek(0)
            text = output.read()
        assert done.returncode == 0, text
        return text

    def started(self, *options: str) -> None:
        command = " ".join(["-c", f"unix_socket_directories={self.folder}", *options])
        self.run("pg_ctl", "-D", self.data, "-w", "-l", self.folder / "log", "-o", command, "start")

    def stopped(self) -> None:
        self.run("pg_ctl", "-D", self.data, "-w", "-m", "fast", "stop")

    def psql(self, *arguments: object, stdin: str = "") -> str:
        """Run psql as the entry point does."""
        before = ("-v", "ON_ERROR_STOP=1", "--no-psqlrc", "--no-password", "-h", self.folder, "-U", "faceuser")
        return self.run("psql", *before, *arguments, stdin=stdin)


@pytest.fixture(scope="module")
def compose() -> Any:
    """Return the services of the compose file."""
    return YAML(typ="safe").load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]


@pytest.fixture(scope="module")
def machine(postgres16: str, compose: Any) -> Iterator[Machine]:
    """Run PostgreSQL as after the first `docker compose up`."""
    user = user_for(str(conninfo_to_dict(postgres16)["host"]))  # from now on, it can run the embedded server's programs
    folder = Path(tempfile.mkdtemp(prefix="pgface-machine-"))
    if user is not None:
        os.chown(folder, *user)
    # Its own address, so that the services can use the ports of the compose file.
    number = os.getpid()
    machine = Machine(folder, f"127.{64 + number % 128}.{number // 128 % 256}.7", user)
    try:
        make_secrets(machine.secrets, Owner(*(user or (os.geteuid(), os.getegid()))))
        if user is not None:
            os.chown(machine.secrets, *user)
        _first_start(machine, compose["postgres"])
        program, *options = compose["postgres"]["command"]
        assert program == "postgres"
        machine.started(*options, f"--listen_addresses={machine.address}")
        yield machine
        machine.stopped()
    finally:
        shutil.rmtree(folder)


def _first_start(machine: Machine, service: Any) -> None:
    given = service["environment"]
    password = machine.secrets / Path(given["POSTGRES_PASSWORD_FILE"]).name
    options = given["POSTGRES_INITDB_ARGS"].split()
    machine.run("initdb", "-D", machine.data, f"--username={given['POSTGRES_USER']}", f"--pwfile={password}", *options)
    rules = machine.data / "pg_hba.conf"
    # The image trusts connections through the loopback interface, which no other container uses. Here all use it.
    others = re.sub(r"^host .* trust$", "", rules.read_text(), flags=re.MULTILINE)
    rules.write_text(f"{others}\nhost all all all scram-sha-256\n")
    machine.started("--listen_addresses=''")
    machine.psql("-d", "postgres", "--set", f"db={given['POSTGRES_DB']}", stdin='CREATE DATABASE :"db" ;\n')
    (script,) = [volume for volume in service["volumes"] if "/docker-entrypoint-initdb.d/" in volume]
    # A copy, because the server's user may have no access to the checkout.
    copy = shutil.copy(ROOT / script.partition(":")[0], machine.folder / "init.sql")
    machine.psql("-d", given["POSTGRES_DB"], "-f", copy)
    machine.stopped()


@pytest.fixture(scope="module")
def bouncer(machine: Machine) -> Iterator[None]:
    """Run the pgbouncer of the compose file with its configuration. Only the names of hosts and files differ."""
    text = (ROOT / "deploy" / "pgbouncer" / "pgbouncer.ini").read_text(encoding="utf-8")
    for ours, here in (
        ("host=postgres", f"host={machine.address}"),
        ("listen_addr = *", f"listen_addr = {machine.address}"),
        ("/run/secrets", str(machine.secrets)),
    ):
        assert text.count(ours) == 1
        text = text.replace(ours, here)
    with running(text, machine.user):
        yield


@pytest.fixture
def environment(machine: Machine, compose: Any, tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Return a function that makes the service's environment for the address of PostgreSQL or pgbouncer in `.env`."""

    def through(address: str) -> dict[str, str]:
        given = compose["pgface"]["environment"]
        environment = {name: _interpolated(value, {"PGFACE_POSTGRES": address}) for name, value in given.items()}
        for name in ("PGFACE_DATABASE_URL", "PGFACE_DIRECT_URL"):
            environment[name] += f"?hostaddr={machine.address}"  # in place of the names in the containers' network
        environment["PGPASSFILE"] = str(machine.secrets / Path(environment["PGPASSFILE"]).name)
        return environment | {"PGFACE_DATA_DIR": str(tmp_path / "data")}

    return through


def _variable_of_the_image(name: str, address: str) -> dict[str, str]:
    """Return a variable of the image, with the address of this machine in place of all networks."""
    (value,) = re.findall(rf"{name}=(\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    return {name: value.replace("0.0.0.0", address)}  # noqa: S104 - it is replaced


@pytest.fixture
def pgface(environment: Callable[[str], dict[str, str]], tmp_path: Path) -> Callable[[str], Run]:
    """Return a function that makes a runner of pgface with the service's environment."""
    return lambda address: runner(environment(address), tmp_path)


def _interpolated(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: values.get(found[1]) or found[2], text)


def url(machine: Machine, service: tuple[str, int], **more: str) -> str:
    host, port = service
    return make_conninfo(host=host, hostaddr=machine.address, port=port, user="faceuser", dbname="facedb", **more)


def test_the_init_script_makes_the_whole_gallery(machine: Machine, specification: str) -> None:
    tables = machine.psql("-d", "facedb", "-c", r"\dt")
    functions = machine.psql("-d", "facedb", "-c", r"\df")
    for name in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", specification):
        assert f" {name} " in tables
    for name in re.findall(r"CREATE OR REPLACE FUNCTION (\w+)", specification):
        assert f" {name} " in functions
    latest = machine.psql("-d", "facedb", "-Atc", "SELECT max(version) FROM pgface_migrations")
    assert int(latest) == migrations()[-1].version
    assert machine.psql("-d", "facedb", "-Atc", "SHOW server_encoding").strip() == "UTF8"


def test_the_database_passes_its_health_check(machine: Machine, compose: Any) -> None:
    kind, command = compose["postgres"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    program, *arguments = command.split()
    assert "accepting connections" in machine.run(program, "-h", machine.folder, *arguments)


def test_the_server_has_every_setting_of_the_compose_file(machine: Machine, compose: Any) -> None:
    for option in compose["postgres"]["command"][1:]:
        name, _, value = option.removeprefix("--").partition("=")
        shown = machine.psql("-d", "facedb", "-Atc", f"SHOW {name}").strip()
        assert shown == {"1024MB": "1GB", "2048MB": "2GB"}.get(value, value)


@pytest.mark.usefixtures("bouncer")
@pytest.mark.parametrize("service", [("postgres", 5432), ("pgbouncer", 6432)])
def test_only_the_password_gives_access(machine: Machine, service: tuple[str, int]) -> None:
    passfile = str(machine.secrets / "pgpass")
    with psycopg.connect(url(machine, service, passfile=passfile), prepare_threshold=None) as connection:
        assert rows(connection, "SELECT current_user") == [("faceuser",)]
    for wrong in ({"password": "facepass123"}, {"passfile": "/nowhere"}):
        with pytest.raises(psycopg.OperationalError, match=r"password|authentication failed"):
            psycopg.connect(url(machine, service, **wrong)).close()


def test_the_service_passes_its_health_check_after_the_first_start(
    machine: Machine, compose: Any, environment: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    service = compose["pgface"]
    kind, *check = service["healthcheck"]["test"]
    assert (kind, check[0]) == ("CMD", "pgface")
    variables = environment("") | _variable_of_the_image("PGFACE_LISTEN_HOST", machine.address)
    # As the engine runs it: in the service's container, with the same variables.
    checked = process_runner(variables, tmp_path)
    assert checked(*check[1:], code=1).stdout == ""
    command, *options = service["command"]
    assert command == "serve"
    with serving_anew(variables, tmp_path, *options, "--port", 8000) as served:
        url = f"http://{machine.address}:8000/"
        assert served.announcement.startswith(says.SERVING.format(model="sface", url=url))
        done = checked(*check[1:])
        assert (done.stdout, done.stderr) == (says.IS_READY.format(url=f"{url}readyz") + "\n", "")
        machine.stopped()
        try:
            assert says.DATABASE_IS_AWAY in checked(*check[1:], code=1).stderr
        finally:
            machine.started(*compose["postgres"]["command"][1:], f"--listen_addresses={machine.address}")


@pytest.mark.usefixtures("bouncer")
@pytest.mark.parametrize("address", ["", "pgbouncer:6432"], ids=["directly", "through pgbouncer"])
def test_pgface_works_with_the_services_environment(
    pgface: Callable[[str], Run], address: str, faces_dir: Path
) -> None:
    run = pgface(address)
    assert commands.GALLERY_IS_READY.format(model="sface") in run("init").stdout
    person = "George_W_Bush"
    photos = [faces_dir / person / f"{person}_{number:04}.jpg" for number in (1, 3)]
    run("enroll", *photos, "--user", "george@example.org", "--faces", "largest")
    found = json.loads(run("identify", faces_dir / person / f"{person}_0002.jpg", "--json").stdout)
    assert "george@example.org" in json.dumps(found)
    run("fit-search", "--method", "hnsw")
    run("fit-search", "--method", "exact")
    status = json.loads(run("status", "--json").stdout)
    assert (status["users"], status["embeddings"], status["index"], status["postgresql"][:3]) == (1, 2, "hnsw", "16.")


@dataclass(frozen=True, slots=True)
class PasswordFile:
    """A password file that libpq does not use, and the expected sentence about it."""

    name: str
    mode: int
    said: Sentence
    owner: int = 0
    text: str = ""


@pytest.mark.parametrize(
    "case",
    [
        PasswordFile("of-another-user", 0o600, commands.PASSWORD_FILE_OF_ANOTHER_USER, owner=12_345),
        PasswordFile("for-all", 0o644, commands.PASSWORD_FILE_FOR_OTHERS),
        PasswordFile("of-another-server", 0o600, commands.PASSWORD_FILE_LACKS_A_LINE, text="elsewhere:*:*:*:no\n"),
        PasswordFile("", 0, commands.NO_PASSWORD_FILE),
    ],
    ids=lambda case: case.name or "missing",
)
def test_the_error_explains_why_a_password_file_is_not_used(
    machine: Machine, tmp_path: Path, case: PasswordFile
) -> None:
    file = tmp_path / (case.name or "missing")
    if case.name:
        file.write_text(case.text or (machine.secrets / "pgpass").read_text())
        file.chmod(case.mode)
    settings = Settings.model_validate({"database_url": url(machine, ("postgres", 5432), passfile=str(file))})
    user = as_user(case.owner + 1, file, case.owner) if case.owner else nullcontext()
    with user, pytest.raises(DatabaseAccessError) as refused:
        Gallery.open(settings)
    assert case.said.is_in(str(refused.value), file=file, owner=case.owner, user=case.owner + 1)


def test_the_servers_log_contains_no_password(machine: Machine) -> None:
    password = (machine.secrets / "postgres_password").read_text().strip()
    assert password not in (machine.folder / "log").read_text()
