"""The OpenAPI document is whole, and the service keeps to it, whatever is sent (Schemathesis)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from pydantic import TypeAdapter
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from pgface.accounts.logins import begin_login
from pgface.server import answers, requests
from pgface.server.api import introspection
from pgface.server.api.examples import ANSWERS
from pgface.server.app import create_app
from pgface.server.openapi import operations
from support.web_service import V1, Headers, Place, Running, Served, bearer, gallery_for_a_process, running

DOCUMENT = create_app().openapi()
OPERATIONS = {operation["operationId"]: operation for _, _, operation in operations(DOCUMENT)}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
EXAMPLES = {"nobody": 2, "person": 3, "program": 8}
"""Good and bad requests that are made up for each operation."""
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
_numbers = count(1)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_described_with_examples(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"].endswith(".")
    assert operation["x-callers"]
    for parameter in operation.get("parameters", []):
        assert parameter["description"], parameter["name"]
    for media_type, content in operation.get("requestBody", {"content": {}})["content"].items():
        assert media_type != "application/json" or content["example"]
    done = [(status, response) for status, response in operation["responses"].items() if status < "300"]
    assert done
    for status, response in done:
        if "content" in response and "image/jpeg" not in response["content"]:
            assert all(content["example"] for content in response["content"].values()), status
    assert ("401" in operation["responses"]) >= ("security" in operation)


def test_examples_of_answers_are_such_answers() -> None:
    for name, example in ANSWERS.items():
        told = TypeAdapter(getattr(answers, name)).validate_python(example).model_dump(mode="json")
        assert set(told) == set(example), name
        assert set(DOCUMENT["components"]["schemas"][name].get("required", [])) <= set(example), name


def test_examples_of_bodies_are_such_bodies() -> None:
    kinds = {**vars(requests), **vars(introspection)}
    for operation in OPERATIONS.values():
        for content in operation.get("requestBody", {"content": {}})["content"].values():
            kind = kinds[content["schema"]["title"]]
            if "example" in content:
                kind.model_validate(content["example"], strict=True)


def test_the_document_is_served(api: Served) -> None:
    assert api.client.get(f"{V1}/openapi.json").json() == DOCUMENT


# Requests made up from the document


@pytest.fixture(scope="module")
def place(postgres: str, tmp_path_factory: pytest.TempPathFactory, insightface_pack: Path) -> Iterator[Place]:
    with gallery_for_a_process(postgres, tmp_path_factory.mktemp("place"), insightface_pack) as place:
        yield place


@pytest.fixture(scope="module")
def service(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("service"), place.environment) as service:
        yield service
        failed = [line for line in service.log() if line["level"] == "ERROR"]
    assert failed == []


def credentials(place: Place, caller: str) -> Headers:
    if caller == "program":
        return place.key("admin")
    if caller == "person":
        user = place.owner.add_user(f"person{next(_numbers)}@example.org")
        with place.owner.database.transaction() as connection:
            return bearer(begin_login(connection, user.id, confidence=1.0, password_given=True, seconds=3600).token)
    return {}


@pytest.mark.parametrize("caller", EXAMPLES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_whatever_is_sent_the_answer_is_as_documented(place: Place, service: Running, name: str, caller: str) -> None:
    operation = SCHEMA.find_operation_by_id(name)
    headers = credentials(place, caller)

    def ask(case: Any) -> None:
        case.call_and_validate(base_url=service.url, headers=headers, checks=CHECKS)

    nothing_is_sent = not {"parameters", "requestBody", "security"} & set(OPERATIONS[name])
    for mode in [GenerationMode.POSITIVE] if nothing_is_sent else list(GenerationMode):
        bounded = settings(
            max_examples=EXAMPLES[caller],
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        bounded(given(operation.as_strategy(mode))(ask))()
