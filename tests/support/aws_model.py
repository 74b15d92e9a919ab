"""botocore's model of Amazon Rekognition, and a strict check of answers against it."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ServiceModel, Shape

from pgface.server.compat.rekognition.shapes import Blob, ListOf, MapOf, Number, Structure, Text
from pgface.server.compat.rekognition.shapes import Shape as OwnShape
from pgface.server.compat.rekognition.validation import _compiled


@cache
def aws_model() -> ServiceModel:
    loader = botocore.session.get_session().get_component("data_loader")
    return ServiceModel(loader.load_service_model("rekognition", "service-2"), "rekognition")


def own_shape(shape: Shape) -> OwnShape:
    """Convert a shape of botocore to one of pgface."""
    limits = shape.metadata
    if shape.type_name == "structure":
        members = {name: own_shape(member) for name, member in shape.members.items()}
        return Structure(members, tuple(shape.required_members))
    if shape.type_name == "list":
        return ListOf(own_shape(shape.member), limits.get("min", 0), limits.get("max"))
    if shape.type_name == "map":
        key, value = own_shape(shape.key), own_shape(shape.value)
        assert isinstance(key, Text)
        assert isinstance(value, Text)
        return MapOf(key, value, limits["min"], limits["max"])
    if shape.type_name == "blob":
        return Blob(limits["min"], limits["max"])
    if shape.type_name in ("integer", "float"):
        return Number(shape.type_name == "integer", limits["min"], limits.get("max"))
    assert shape.type_name == "string"
    pattern = limits.get("pattern")
    return Text(limits.get("min", 0), limits.get("max"), pattern, tuple(limits.get("enum", ())))


def check_answer(body: bytes, operation: str) -> None:
    """Check that an answer has only members of the model, of its types and within its limits."""
    shape = aws_model().operation_model(operation).output_shape
    _check(json.loads(body), shape, operation)


def check_error(body: bytes, operation: str) -> None:
    """Check that an error is one of the operation, or one that all services of AWS have."""
    error = json.loads(body)
    known = {shape.name for shape in aws_model().operation_model(operation).error_shapes}
    known |= {"ValidationException", "SerializationException", "UnknownOperationException"}
    known |= {"InvalidSignatureException", "IncompleteSignatureException", "UnrecognizedClientException"}
    known |= {"MissingAuthenticationTokenException", "AccessDeniedException", "RequestTimeoutException"}
    assert error["__type"] in known, error
    assert error["Message"].strip()
    assert error["Logref"]


def _check(value: Any, shape: Shape, place: str) -> None:
    limits = shape.metadata
    kind = shape.type_name
    if kind == "structure":
        assert isinstance(value, dict), place
        assert value.keys() <= shape.members.keys(), (place, value.keys() - shape.members.keys())
        for name, member in value.items():
            _check(member, shape.members[name], f"{place}.{name}")
    elif kind == "list":
        assert isinstance(value, list), place
        for member in value:
            _check(member, shape.member, f"{place}[]")
    elif kind == "map":
        assert isinstance(value, dict), place
        for key, member in value.items():
            _check(key, shape.key, place)
            _check(member, shape.value, place)
    elif kind == "blob":
        assert limits["min"] <= len(base64.b64decode(value, validate=True)) <= limits["max"], place
    elif kind == "string":
        assert isinstance(value, str), place
        assert limits.get("min", 0) <= len(value) <= limits.get("max", len(value)), place
        assert value in limits.get("enum", [value]), (place, value)
        assert "pattern" not in limits or _compiled(limits["pattern"]).fullmatch(value), (place, value)
    else:
        types = {"integer": int, "long": int, "float": int | float, "double": int | float, "timestamp": int | float}
        assert isinstance(value, bool if kind == "boolean" else types[kind]), (place, value)
        assert kind == "boolean" or value >= limits.get("min", value), (place, value)
        assert kind == "boolean" or value <= limits.get("max", value), (place, value)
