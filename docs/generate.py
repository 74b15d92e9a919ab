"""Writes the pages of the reference that follow the code: `make docs`. A test proves that they are current."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from typer.core import TyperGroup

from pgface.cli.commands import GROUPS, app
from pgface.server.app import create_app
from pgface.server.errors import known_problems
from pgface.server.openapi import operations
from pgface.settings import Settings

REFERENCE = Path(__file__).parent / "reference"


def command_line() -> str:
    """The page of the commands, from their own help."""
    root: Any = typer.main.get_command(app)
    context = typer.Context(root)
    lines = [_COMMAND_LINE]
    for title, names in GROUPS.items():
        lines += ["", f"## {title}"]
        for name in names:
            for full_name, command in _commands(f"pgface {name}", root.get_command(context, name)):
                lines += _command_section(full_name, command)
    return "\n".join(lines) + "\n"


def settings() -> str:
    """The page of the settings, from their own descriptions."""
    lines = [
        "# The settings",
        "",
        "Generated from the code by `make docs`. Every setting is read from the environment; an empty variable counts "
        "as not set. Where the web service listens is set by options of [`pgface serve`](command-line.md), or by "
        "`PGFACE_LISTEN_HOST`, `PGFACE_LISTEN_PORT`, `PGFACE_CERTIFICATE` and `PGFACE_CERTIFICATE_KEY`, which `pgface "
        "healthcheck` reads too.",
        "",
        "| variable | what | default |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        variable = str(field.validation_alias or f"PGFACE_{name.upper()}")
        value = field.get_default()
        default = _DEFAULTS.get(name, "" if value is None else f"`{value}`")
        lines.append(f"| `{variable}` | {field.description} | {default} |")
    return "\n".join(lines) + "\n"


def openapi() -> str:
    """The service's OpenAPI document."""
    return json.dumps(create_app().openapi(), indent=1, ensure_ascii=False) + "\n"


_HTTP_API = """# The REST API

Generated from the code by `make docs`. [openapi.json](openapi.json) has everything that a body or an answer holds, with
examples; a running service has it at `/api/v1/openapi.json`.

Who calls says so with `Authorization: Bearer ...`: programs with an API key (`pgface keys create`), people with the
token of a login. A photo comes as a file in multipart/form-data, or in base64 in JSON. Calls that create something take
an `Idempotency-Key`, and may be repeated with it. Lists come by the page: `next_cursor` of one is the `cursor` of the
next."""
_PROBLEMS = """
## Problems

An error is a problem of RFC 9457, `application/problem+json`: `code` stays the same and is for programs, `detail` is a
sentence for people, `errors` names the fields that cannot be used, and by `request_id`, which is also in the header
`X-Request-Id`, the log knows the request.

What is the service's own fault has one sentence whatever it is, and the log knows more: 503 with another code than
`service-busy` or `work-timeout` says that the database, the model or the disk is away, and 500 that pgface has a fault.
If a body is refused before it has arrived, the connection may be closed after the answer.

| code | status | what |
|---|---|---|"""


def http_api() -> str:
    """The page of the service's operations and problems."""
    document = create_app().openapi()
    lines = [_HTTP_API]
    for tag in document["tags"]:
        title = tag["name"].capitalize()
        lines += ["", f"## {title}", "", tag["description"], "", "| | what | who may |", "|---|---|---|"]
        for method, path, operation in operations(document):
            if operation["tags"] == [tag["name"]]:
                summary = operation["summary"]
                what = f"{summary}{'' if summary.endswith(('?', ')')) else '.'} {operation['description']}"
                lines.append(f"| `{method} {path}` | {what} | {operation['x-callers']} |")
    lines += list(_fields(document))
    lines.append(_PROBLEMS)
    told = [
        problem
        for problem in sorted(known_problems())
        if problem[1] < 500 or problem[0] in ("service-busy", "work-timeout")
    ]
    lines += [f"| `{code}` | {status} | {sentence} |" for code, status, sentence in told]
    return "\n".join(lines) + "\n"


def _fields(document: dict[str, Any]) -> Iterator[str]:
    """The fields of every body and of every query, with their types, limits and defaults."""
    yield _FIELDS
    for method, path, operation in operations(document):
        body: dict[str, Any] = operation.get("requestBody", {}).get("content", {})
        schema = (next(iter(body.values())) if body else {}).get("schema", {})
        rows = [
            _row(name, field, name in schema.get("required", ()))
            for name, field in schema.get("properties", {}).items()
        ]
        rows += [
            _row(asked["name"], asked["schema"] | asked, asked.get("required", False), _PLACES[asked["in"]])
            for asked in operation.get("parameters", ())
            if asked["in"] in _PLACES
        ]
        if rows:
            yield from ("", f"### `{method} {path}`", "")
            if body:
                yield from (f"The body is {' or '.join(f'`{kind}`' for kind in body)}.", "")
            yield from ("| field | what it takes | default | what it is |", "|---|---|---|---|", *rows)
        if "example" in (given := body.get("application/json", {})):
            yield from ("", "```json", json.dumps(given["example"], ensure_ascii=False), "```")


def _row(name: str, field: dict[str, Any], required: bool, place: str = "") -> str:
    kinds = [one for one in field.get("anyOf", [field]) if one.get("type") != "null"]
    default = field.get("default")
    shown = "required" if required else "" if default is None else f"`{json.dumps(default)}`"
    what = f"{place} {field.get('description', _MEANINGS.get(name, ''))}".strip()
    return f"| `{name}` | {' or '.join(map(_kind, kinds))} | {shown} | {what} |"


def _kind(field: dict[str, Any]) -> str:
    if "enum" in field or "const" in field:
        return " or ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if field.get("contentEncoding") == "base64":
        return "photo"
    if field["type"] == "array":
        return f"list, each {_kind(field['items'])}{_limits(field, 'entries')}"
    return _KINDS[field["type"]] + _limits(field, "characters")


def _limits(field: dict[str, Any], what: str) -> str:
    low = field.get("minLength", field.get("minItems", 0))
    high = field.get("maxLength", field.get("maxItems"))
    counted = [f"at least {low} {what if low > 1 else _ONE[what]}"] if low else []
    counted += [f"at most {high:,} {what}"] if high else []
    counted += [f"at least {_plain(field['minimum'])}"] if "minimum" in field else []
    counted += [f"at most {_plain(field['maximum'])}"] if "maximum" in field else []
    return "".join(f", {one}" for one in counted)


def _plain(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else str(number)


_ONE = {"characters": "character", "entries": "entry"}
_PLACES = {"query": "In the query.", "header": "A header."}
_KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
_MEANINGS = {
    "photo": "The photo.",
    "other": "The other photo.",
    "frame": "A picture of the camera.",
    "email": "The user's e-mail.",
    "password": "The user's password.",
    "former": "The password until now.",
    "new": "The new password.",
    "name": "The user's name; of a key, what it is for.",
    "scopes": "What the key may do.",
    "user_id": "The user's id.",
    "token": "The token to look at.",
}
_FIELDS = """
## What requests take

A field that is not listed is refused. A photo is a file in a form, with or without a file name, or base64 in JSON. The
base64 may be of the usual alphabet or of the one for URLs, with or without line breaks and padding, or a `data:` URL.
JSON is in UTF-8.

If an answer has the code `several-faces`, crop the photo to one person, or send the field `face` with the value
`largest`."""

# What depends on the machine is said in words.
_DEFAULTS = {
    "data_dir": "the platform's user data folder; `/var/lib/pgface` for root",
    "workers": "the number of processors",
}


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """A command by its full name, or the commands of a group."""
    if isinstance(command, TyperGroup):
        for child_name in sorted(command.commands):
            yield from _commands(f"{name} {child_name}", command.commands[child_name])
    else:
        yield name, command


def _command_section(name: str, command: Any) -> Iterator[str]:
    usage = " ".join(
        piece.replace("{", "").replace("}", "") for piece in command.collect_usage_pieces(typer.Context(command))
    )
    yield from ("", f"### `{name}`", "", (command.help or "").strip(), "", "```console", f"{name} {usage}", "```")
    rows = [
        _parameter(parameter)
        for parameter in command.params
        if parameter.name != "help" and not getattr(parameter, "hidden", False)
    ]
    if rows:
        yield from ("", "| option | type | default | what it does |", "|---|---|---|---|", *rows)


def _parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar}{'...' if parameter.nargs == -1 else ''}`"
    else:
        metavar = f" {parameter.metavar}" if parameter.metavar else ""
        names = ", ".join(f"`{name}{metavar}`" for name in (*parameter.opts, *parameter.secondary_opts))
    what = (parameter.help or "").replace("|", "\\|")
    return f"| {names} | {_type(parameter)} | {_default(parameter)} | {what} |"


def _type(parameter: Any) -> str:
    kind = parameter.type_descriptor.annotation
    if get_origin(kind) is list:
        return f"{_TYPES[get_args(kind)[0]]}, repeatable"
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    low, high = parameter.min, parameter.max
    if high is not None and high < _NO_LIMIT:
        return f"{_TYPES[kind]}, {_plain(low)} to {_plain(high)}"
    return _TYPES[kind] if low is None else f"{_TYPES[kind]}, at least {_plain(low)}"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    default = parameter.default
    if isinstance(default, bool) and parameter.secondary_opts:
        return f"`{parameter.opts[0] if default else parameter.secondary_opts[0]}`"
    return "" if default is None or default is False else f"`{default}`"


_COMMAND_LINE = """# The commands

Generated from the commands' own help by `make docs`. `pgface COMMAND --help` prints the same.

If the default is empty, the last column says what happens without the option. A type of *flag* takes no value.

| exit code | meaning |
|---|---|
| 0 | Success. If nobody matches, that is also success. |
| 1 | Failure. The error stream says why. |
| 2 | Wrong usage. |
| 130 | Interrupted by Ctrl-C. |"""
_TYPES = {str: "text", int: "whole number", float: "number", Path: "path", bool: "flag", Any: "size"}
_NO_LIMIT = 2**31 - 1


def main() -> None:
    """Write the pages."""
    REFERENCE.mkdir(exist_ok=True)
    (REFERENCE / "command-line.md").write_text(command_line(), encoding="utf-8")
    (REFERENCE / "settings.md").write_text(settings(), encoding="utf-8")
    (REFERENCE / "http-api.md").write_text(http_api(), encoding="utf-8")
    (REFERENCE / "openapi.json").write_text(openapi(), encoding="utf-8")


if __name__ == "__main__":
    main()
