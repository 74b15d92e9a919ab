"""The OpenAPI document is complete, and the service conforms to it for generated requests (Schemathesis)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.internal.cache import LRUCache
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants
from pydantic import BaseModel
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from pgface.accounts.sessions import begin_session
from pgface.server.openapi import operations, schema_of
from pgface.server.schemas import admin, auth, events, faces, galleries, jobs, photos, users
from pgface.server.schemas import operations as health
from pgface.server.schemas.base import RequestBody, ResponseBody
from support.openapi import document
from support.web_service import V1, Headers, Place, Running, Served, bearer, gallery_for_a_process, running

DOCUMENT = document()
OPERATIONS = {operation["operationId"]: operation for _, _, operation in operations(DOCUMENT)}
OPERATION_IDS = [
    "list_users",
    "create_user",
    "get_user",
    "update_user",
    "delete_user",
    "list_photos",
    "enroll_photo",
    "enroll_photo_by_email",
    "get_crop",
    "delete_photo",
    "identify",
    "verify",
    "compare",
    "detect",
    "register",
    "log_in",
    "create_challenge",
    "get_hint",
    "log_in_by_face",
    "log_out",
    "get_me",
    "delete_me",
    "change_password",
    "list_logins",
    "end_logins",
    "end_login",
    "introspect",
    "answer_liveness_session",
    "get_liveness_hint",
    "list_events",
    "create_job",
    "list_jobs",
    "get_job",
    "list_job_results",
    "cancel_job",
    "get_status",
    "list_api_keys",
    "create_api_key",
    "revoke_api_key",
    "list_audit",
    "list_galleries",
    "create_gallery",
    "get_gallery",
    "rename_gallery",
    "delete_gallery",
    "healthz",
    "readyz",
    "get_metrics",
]
"""Clients are generated from these ids, so another name breaks them."""


def rejects_invalid_data(ctx: Any, response: Any, case: Any) -> bool | None:
    """An invalid request is refused. A form has only text, so a number or null in a list of texts is valid there."""
    lists = [value for value in case.body.values() if isinstance(value, list)] if isinstance(case.body, dict) else []
    if case.media_type == "multipart/form-data" and any(not isinstance(item, str) for items in lists for item in items):
        return None
    return negative_data_rejection(ctx, response, case)


CHECKS = [
    rejects_invalid_data,
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
EXAMPLES = {"anonymous": 2, "user": 3, "program": 8}
"""The number of valid requests, and of invalid requests, that are generated for each operation."""
CONFIG = SchemathesisConfig.from_dict({"generation": {"with-security-parameters": False}})
"""A generated `Authorization` is never sent, because each caller has its own: no request may be invalid by it alone."""
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT, config=CONFIG)
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
        assert media_type != "application/json" or schema_of(DOCUMENT, content)["examples"]
    done = [(status, response) for status, response in operation["responses"].items() if status < "300"]
    assert done
    for status, response in done:
        if "content" in response and "image/jpeg" not in response["content"]:
            for content in response["content"].values():
                assert content.get("example") or schema_of(DOCUMENT, content)["examples"], status
    assert ("401" in operation["responses"]) >= ("security" in operation)


MODELS: dict[str, type[BaseModel]] = {
    name: model
    for module in (users, photos, faces, auth, events, jobs, admin, galleries, health)
    for name, model in vars(module).items()
    if isinstance(model, type) and issubclass(model, RequestBody | ResponseBody) and model.__module__ == module.__name__
}


@pytest.mark.parametrize("name", MODELS)
def test_an_example_is_valid_and_has_every_field(name: str) -> None:
    model, schema = MODELS[name], DOCUMENT["components"]["schemas"][name]
    (example,) = schema["examples"]
    valid = model.model_validate(example, strict=issubclass(model, RequestBody))
    assert set(schema.get("required", [])) <= set(example) <= set(schema["properties"])
    if issubclass(model, ResponseBody):
        assert set(valid.model_dump(mode="json")) == set(example)


def test_operation_ids_do_not_change() -> None:
    assert list(OPERATIONS) == OPERATION_IDS
    assert len(set(OPERATION_IDS)) == len(OPERATION_IDS)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in OPERATION_IDS)


def test_the_document_is_served(api: Served) -> None:
    assert api.client.get(f"{V1}/openapi.json").json() == DOCUMENT


# Requests that are generated from the document


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
    if caller == "user":
        user = place.owner.add_user(f"person{next(_numbers)}@example.org")
        with place.owner.database.transaction() as connection:
            return bearer(begin_session(connection, user.id, confidence=1.0, password_given=True, seconds=3600).token)
    return {}


@pytest.fixture
def the_same_requests_in_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis draws constants from all modules that are loaded, and these depend on the tests that ran before."""
    monkeypatch.setattr(providers, "_get_local_constants", Constants)
    monkeypatch.setattr(providers, "CONSTANTS_CACHE", LRUCache(1024))


@pytest.mark.usefixtures("the_same_requests_in_every_run")
@pytest.mark.parametrize("caller", EXAMPLES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_responses_are_as_documented(place: Place, service: Running, name: str, caller: str) -> None:
    operation = SCHEMA.find_operation_by_id(name)
    headers = credentials(place, caller)

    def call(case: Any) -> None:
        if isinstance(case.query.get("wait"), int | float):
            case.query["wait"] = min(case.query["wait"], 0)  # a valid wait takes up to half a minute
        case.call_and_validate(base_url=service.url, headers=headers, checks=CHECKS)

    sends_nothing = not {"parameters", "requestBody"} & set(OPERATIONS[name])
    for mode in [GenerationMode.POSITIVE] if sends_nothing else list(GenerationMode):
        bounded = settings(
            max_examples=EXAMPLES[caller],
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        bounded(given(operation.as_strategy(mode))(call))()
