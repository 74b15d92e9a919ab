"""The files of the containers agree with the specification, their schemas and the code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from ruamel.yaml import YAML

from pgface.cli.listening import PORT
from pgface.database.embedded.settings import FIXED_SETTINGS, fitted_settings
from pgface.operations.backup.programs import INSTALLED
from pgface.operations.deployment import CONTAINER_ID, Owner, make_secrets
from pgface.settings import Settings

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent
DOCKERFILES = ("Dockerfile", "deploy/pgbouncer/Dockerfile")

# These follow from the embedded server: only its user can reach it, and its file system is known.
ONLY_EMBEDDED = {
    "listen_addresses",
    "port",
    "unix_socket_directories",
    "unix_socket_permissions",
    "dynamic_shared_memory_type",
    "recovery_init_sync_method",
}


def read(text: str) -> Any:
    return YAML(typ="safe").load(text)


@pytest.fixture(scope="module")
def compose() -> Any:
    """The compose file."""
    return read((ROOT / "compose.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def specified(specification: str) -> Any:
    """The compose file of the specification."""
    (block,) = re.findall(r"```yaml\n(.*?)```", specification, flags=re.DOTALL)
    return read(block)


def run(*command: object) -> None:
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", ["compose.yaml", "compose.replicas.yaml"])
def test_the_compose_files_follow_the_schema_of_the_compose_specification(file: str) -> None:
    run(SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)


def test_the_schema_would_find_a_mistake(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((ROOT / "compose.yaml").read_text(encoding="utf-8").replace("read_only:", "readonly:", 1))
    with pytest.raises(AssertionError, match="readonly"):
        run(SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", wrong)


@pytest.mark.parametrize("file", DOCKERFILES)
def test_hadolint_finds_nothing_in_the_dockerfiles(file: str) -> None:
    run(SCRIPTS / "hadolint", file)


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    run(SCRIPTS / "shellcheck", *(ROOT / "scripts").iterdir(), *(ROOT / "deploy").glob("*.sh"), ".ci/run")


# The contract


@pytest.mark.parametrize("service", ["postgres", "pgadmin"])
def test_services_are_those_of_the_specification(compose: Any, specified: Any, service: str) -> None:
    ours, theirs = compose["services"][service], specified["services"][service]
    assert ours["container_name"] == theirs["container_name"]
    assert ours["networks"] == theirs["networks"]
    assert ours["ports"] == [f"127.0.0.1:{port}" for port in theirs["ports"]]
    assert ours.get("healthcheck") == theirs.get("healthcheck")
    assert ours.get("depends_on") == theirs.get("depends_on")
    assert ours["image"].partition(":")[0] == theirs["image"].partition(":")[0]
    for name, value in theirs["environment"].items():
        if "PASSWORD" in name:
            assert name not in ours["environment"]
            assert re.fullmatch(r"/run/secrets/\w+_password", ours["environment"][f"{name}_FILE"])
        else:
            given = re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", ours["environment"][name])
            assert given == value


def test_postgres_is_of_the_specifications_version_and_pinned(compose: Any, specified: Any) -> None:
    theirs = specified["services"]["postgres"]["image"].rpartition("pg")[2]
    assert re.fullmatch(rf"pgvector/pgvector:0\.\d+\.\d+-pg{theirs}", compose["services"]["postgres"]["image"])


def test_volumes_and_networks_are_those_of_the_specification(compose: Any, specified: Any) -> None:
    assert compose["networks"] == specified["networks"]
    assert set(specified["volumes"]) <= set(compose["volumes"])
    script, data = compose["services"]["postgres"]["volumes"]
    assert data in specified["services"]["postgres"]["volumes"]
    source, target, mode = script.split(":")
    assert (target, mode) == ("/docker-entrypoint-initdb.d/init.sql", "ro")
    assert (ROOT / source).is_file()


# Beyond the specification


def test_every_image_is_pinned_or_built_here(compose: Any) -> None:
    for name, service in compose["services"].items():
        if "build" not in service:
            assert re.search(r":v?\d+\.\d+", service["image"]), name


def test_nothing_is_open_to_the_network(compose: Any) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_password_is_in_the_file(compose: Any) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            assert name.endswith("_FILE") or "PASSWORD" not in name
            assert (
                "://" not in value or urlsplit(value.replace("${PGFACE_POSTGRES:-postgres:5432}", "h")).password is None
            )


def test_every_secret_is_made_and_used(compose: Any, tmp_path: Path) -> None:
    made = make_secrets(tmp_path / "secrets", Owner(os.geteuid(), os.getegid()))
    assert {name: f"./secrets/{name}" for name in made} == {
        name: secret["file"] for name, secret in compose["secrets"].items()
    }
    used = [secret for service in compose["services"].values() for secret in service.get("secrets", [])]
    assert sorted(used) == sorted(made)


@pytest.mark.parametrize("name", ["pgface", "pgbouncer"])
def test_our_images_have_few_permissions(compose: Any, name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    dockerfile = (ROOT / service["build"] / "Dockerfile").read_text(encoding="utf-8")
    final = dockerfile[dockerfile.rindex("\nFROM ") :] if "\nFROM " in dockerfile else dockerfile
    (user,) = re.findall(r"^USER (\S+)$", final, flags=re.MULTILINE)
    assert user == f"{CONTAINER_ID}:{CONTAINER_ID}"
    assert service["user"] == f"${{PGFACE_UID:-{CONTAINER_ID}}}:${{PGFACE_GID:-{CONTAINER_ID}}}"
    assert re.search(r"^HEALTHCHECK ", final, flags=re.MULTILINE)


def test_containers_run_as_the_owner_of_the_secrets(compose: Any) -> None:
    services = compose["services"]
    for name in ("pgface", "pgbouncer"):
        assert services[name]["user"] == f"${{PGFACE_UID:-{CONTAINER_ID}}}:${{PGFACE_GID:-{CONTAINER_ID}}}"
    assert services["pgadmin"]["user"].startswith(f"${{PGFACE_UID:-{CONTAINER_ID}}}:")


def test_one_image_works_for_every_user(compose: Any) -> None:
    """The image contains no user id except its default, so another id in `.env` needs no other image."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^ARG (\w+)", dockerfile, re.MULTILINE) == ["PYTHON"]
    assert "chown" not in dockerfile
    (volume,) = [volume for volume in compose["services"]["pgface"]["volumes"] if volume.startswith("pgface_data:")]
    assert f"RUN install -d -m 1777 {volume.partition(':')[2]}\n" in dockerfile


def test_images_are_built_without_a_registry_where_their_bases_are() -> None:
    for file in DOCKERFILES:
        lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
        # A line `# syntax=` fetches a program that reads the rest.
        assert not [line for line in lines if re.match(r"#\s*(syntax|escape|check)\s*=", line)]
        sources = [source for line in lines for source in re.findall(r"--from=(\S+)", line)]
        stages = re.findall(r"^FROM \S+ AS (\w+)$", "\n".join(lines), re.MULTILINE)
        assert set(sources) <= set(stages)


def test_every_engine_reads_the_same_values(compose: Any) -> None:
    """podman-compose 1.3 does not replace `${X:-y}` in the value of a variable X."""
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            assert f"${{{name}" not in value
        check = service.get("healthcheck", {}).get("test", ["NONE"])
        # podman-compose passes the words through two shells.
        assert not re.search(r"[\"'$;()\\]", " ".join(check))


def test_the_web_service_starts_automatically_has_a_health_check_and_stops_cleanly(compose: Any) -> None:
    service = compose["services"]["pgface"]
    assert "profiles" not in service
    assert service["command"] == ["serve"]
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert service["restart"] == "unless-stopped"
    assert int(service["stop_grace_period"].removesuffix("s")) > Settings().shutdown_timeout
    # Another command, `docker compose run --rm pgface status`, must not find its name or its port taken.
    assert "container_name" not in service


def test_the_image_has_the_command_and_the_health_check_of_the_service(compose: Any) -> None:
    service = compose["services"]["pgface"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (command,) = re.findall(r"^CMD (\[.+\])$", dockerfile, re.MULTILINE)
    assert json.loads(command) == service["command"]
    (options, check) = re.findall(r"^HEALTHCHECK (.+) \\\n    CMD (\[.+\])$", dockerfile, re.MULTILINE)[0]
    assert ["CMD", *json.loads(check)] == service["healthcheck"]["test"]
    given = dict(option.removeprefix("--").replace("-", "_").split("=") for option in options.split())
    assert given == {name: str(value) for name, value in service["healthcheck"].items() if name != "test"}
    assert re.findall(r"^EXPOSE (\d+)$", dockerfile, re.MULTILINE) == [str(PORT)]
    assert re.findall(r"PGFACE_LISTEN_HOST=(\S+)", dockerfile) == ["0.0.0.0"]  # noqa: S104 - in its own network


def test_postgres_has_the_settings_of_the_embedded_server(compose: Any) -> None:
    program, *options = compose["services"]["postgres"]["command"]
    settings = dict(option.removeprefix("--").split("=", 1) for option in options)
    fixed = {name: value for name, value in FIXED_SETTINGS.items() if name not in ONLY_EMBEDDED}
    assert program == "postgres"
    assert settings == fixed | fitted_settings(4 * 2**30, 4)
    shared_memory = int(compose["services"]["postgres"]["shm_size"].removesuffix("mb"))
    assert shared_memory > int(settings["maintenance_work_mem"].removesuffix("MB"))


def test_pgbouncer_leads_to_the_services_database(compose: Any) -> None:
    parser = ConfigParser(comment_prefixes=";")
    parser.read(ROOT / "deploy" / "pgbouncer" / "pgbouncer.ini")
    service = compose["services"]["pgbouncer"]
    assert parser["databases"]["facedb"] == "host=postgres port=5432 dbname=facedb"
    assert parser["pgbouncer"]["pool_mode"] == "transaction"
    assert service["ports"] == [f"127.0.0.1:{parser['pgbouncer']['listen_port']}:{parser['pgbouncer']['listen_port']}"]
    assert service["secrets"] == [Path(parser["pgbouncer"]["auth_file"]).name]


# The file with replicas


@pytest.fixture(scope="module")
def replicas() -> Any:
    """The compose file with replicas."""
    return read((ROOT / "compose.replicas.yaml").read_text(encoding="utf-8"))


def test_replicas_are_the_same_postgres_and_log_no_data(compose: Any, replicas: Any) -> None:
    one = compose["services"]["postgres"]
    servers = [service for name, service in replicas["services"].items() if name.startswith("db")]
    logging = {option for option in one["command"] if option.startswith(("--log_", "--client_"))}
    for server in servers:
        assert server["image"] == one["image"]
        assert logging <= set(server["command"])
        assert "ports" not in server
        assert all((ROOT / source).is_file() for source, *_ in map(_parts, server["volumes"]) if source[0] == ".")
    names = {server["environment"]["SERVER"] for server in servers}
    assert names == {"db1", "db2", "db3"}
    assert {server["environment"]["SOURCE"] for server in servers} <= names


def _parts(volume: str) -> list[str]:
    return volume.split(":")


def test_pgface_with_replicas_has_known_settings_and_commands(compose: Any, replicas: Any) -> None:
    commands = re.findall(
        r"^### `pgface (\w+)`$", (ROOT / "docs" / "reference" / "command-line.md").read_text(), re.MULTILINE
    )
    settings = re.findall(r"`(PGFACE_\w+)`", (ROOT / "docs" / "reference" / "settings.md").read_text())
    for name, command in (("pgface", "serve"), ("worker", "worker")):
        service = replicas["services"][name]
        assert service["command"] == [command]
        assert command in commands
        assert {one for one in service["environment"] if one.startswith("PGFACE_")} <= set(settings)
        for key in ("user", "read_only", "cap_drop", "security_opt", "init", "restart", "secrets", "volumes"):
            assert service[key] == compose["services"]["pgface"][key]
        assert "depends_on" not in service  # it would start an old primary
        Settings.model_validate({"database_url": service["environment"]["PGFACE_DATABASE_URL"]})
    assert replicas["services"]["pgface"]["healthcheck"] == compose["services"]["pgface"]["healthcheck"]
    assert replicas["services"]["pgface"]["ports"] == ["127.0.0.1:8000:8000"]


def test_the_password_of_replicas_is_in_files_only(compose: Any, replicas: Any, tmp_path: Path) -> None:
    assert replicas["secrets"].items() <= compose["secrets"].items()
    make_secrets(tmp_path / "secrets", Owner(os.geteuid(), os.getegid()))
    addresses = {line.partition(":")[0] for line in (tmp_path / "secrets" / "pgpass").read_text().splitlines()}
    for service in replicas["services"].values():
        for name, value in service["environment"].items():
            assert name.endswith("_FILE") or "PASSWORD" not in name
            if "://" in value and name != "PGFACE_PHOTO_STORE":
                assert urlsplit(value).password is None
                assert set(urlsplit(value).netloc.rpartition("@")[2].split(",")) <= addresses


# The contents of the image


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = [line for line in lines if line and not line.startswith(" ")]
    assert sum("--hash=sha256:" in line for line in lines) >= len(found) > 0
    # The platforms may differ between the files.
    return {line.split()[0]: line.partition("==")[0] for line in found}


@pytest.mark.parametrize("name", ["deploy/requirements.txt", "deploy/build.txt", "deploy/programs.txt"])
def test_the_image_has_the_versions_that_the_tests_run_with(name: str) -> None:
    tested = set(pins("constraints.txt"))
    assert set(pins(name)) - tested == set()
    assert "://" not in (ROOT / name).read_text(encoding="utf-8")


def test_the_image_has_what_the_package_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = ("dlib", "sface", "insightface", "heif", "server", "backup")
    extras = [project["optional-dependencies"][extra] for extra in names]
    wanted = {re.split(r"[\[<>=]", item)[0] for item in chain(project["dependencies"], *extras)}
    assert wanted <= set(pins("deploy/requirements.txt").values())


def test_the_image_is_trimmed_and_has_the_programs_in_their_place() -> None:
    """test_container_image.py tests the result of these scripts."""
    steps = re.sub(r" \\\n\s*", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert "-r requirements.txt && sh trim.sh /opt/pgface/lib/python3*/site-packages\n" in steps
    assert "-r programs.txt && sh programs.sh wheel programs\n" in steps
    assert "COPY --from=build /build/programs /usr/lib\n" in steps
    assert "/usr/lib/postgresql/*/bin" in INSTALLED


def test_nothing_private_is_sent_to_the_engine_or_committed() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert rules[-2:] == ["secrets/", ".env"]
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE))
    sources = {source for line in copied for source in line.split()}
    assert {source.removesuffix("/pgface") for source in allowed} == sources
    assert all((ROOT / source).exists() for source in allowed)
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"secrets/", ".env"} <= set(ignored)


# The page


def test_the_page_names_existing_services_and_profiles(compose: Any) -> None:
    page = (ROOT / "docs" / "how-to" / "containers.md").read_text(encoding="utf-8")
    commands = re.findall(r"docker compose[^`\n]*", page)
    services, profiles = set(), set()
    for command in commands:
        profiles |= set(re.findall(r"--profile (\w+)", command))
        services |= set(re.findall(r"(?:run --rm(?: -v \S+)*|exec|images) (\w+)", command))
    assert services == {"postgres", "pgface"} <= set(compose["services"])
    assert profiles == {"pgadmin", "pgbouncer"}
    for profile in profiles:
        assert compose["services"][profile]["profiles"] == [profile]


def test_the_page_runs_existing_commands() -> None:
    page = (ROOT / "docs" / "how-to" / "containers.md").read_text(encoding="utf-8")
    known = re.findall(
        r"^### `pgface (.*)`$", (ROOT / "docs" / "reference" / "command-line.md").read_text(), re.MULTILINE
    )
    called = re.findall(
        r"(?<![-/_])\bpgface (?!pgface |-)((?:models |keys |admins |)[a-z-]+)",
        "\n".join(re.findall(r"^    .*$", page, re.MULTILINE)),
    )
    assert len(called) > 6
    assert set(called) <= set(known)
