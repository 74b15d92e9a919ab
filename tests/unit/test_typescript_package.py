"""The files of the TypeScript client follow the OpenAPI document. This needs no Node."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pgface.server.openapi import operations

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "typescript"
GENERATED = PACKAGE / "src" / "generated"
OPENAPI = (ROOT / "docs" / "reference" / "openapi.json").read_bytes()


def package_file(name: str) -> Any:
    return json.loads((PACKAGE / name).read_text("utf-8"))


@pytest.mark.parametrize("name", ["types.ts", "operations.ts"])
def test_the_generated_files_are_current(name: str) -> None:
    head, _, rest = (GENERATED / name).read_bytes().partition(b"\n\n")
    sources, content = re.findall(r": ([0-9a-f]{64})$", head.decode(), re.MULTILINE)
    generator = (PACKAGE / "scripts" / "generate.js").read_bytes()
    assert sources == hashlib.sha256(OPENAPI + generator).hexdigest(), "run `make typescript`"
    assert content == hashlib.sha256(rest).hexdigest(), "run `make typescript`"


def test_every_operation_has_a_method() -> None:
    methods = set(re.findall(r"^  (\w+)\(", (GENERATED / "operations.ts").read_text("utf-8"), re.MULTILINE))
    names = [operation["operationId"] for _, _, operation in operations(json.loads(OPENAPI))]
    expected = [re.sub("_(.)", lambda letter: letter[1].upper(), name) for name in names]
    assert len(expected) > 30
    assert [name for name in expected if name not in methods] == [], "run `make typescript`"


def test_the_package_has_the_version_of_pgface_and_needs_no_other_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    package = package_file("package.json")
    assert (package["version"], package["license"]) == (project["version"], project["license"])
    assert package_file("package-lock.json")["version"] == project["version"]
    assert "dependencies" not in package
    assert (PACKAGE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_lock_file_has_hashes_and_no_addresses_of_downloads() -> None:
    packages = package_file("package-lock.json")["packages"]
    locked = {name: package for name, package in packages.items() if name}
    assert len(locked) > 20
    assert [name for name, package in locked.items() if not package["integrity"].startswith("sha512-")] == []
    assert [name for name, package in locked.items() if "resolved" in package] == []
    assert "omit-lockfile-registry-resolved=true" in (PACKAGE / ".npmrc").read_text("utf-8").split()


def test_one_module_of_the_client_needs_node() -> None:
    sources = {file.name: file.read_text("utf-8") for file in (PACKAGE / "src").rglob("*.ts")}
    assert len(sources) > 6
    needs_node = re.compile(r"from \"node:|\bimport\(|\bprocess\.\w|\brequire\(|\bBuffer\.")
    assert [name for name, text in sources.items() if needs_node.search(text)] == ["files.node.ts"]
