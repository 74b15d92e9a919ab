"""Writes the pages of the reference that follow the code: `make docs`. A test proves that they are current."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import sizing
import typer
from typer.core import TyperGroup

from pgface.cli.commands import GROUPS, app
from pgface.server.app import create_app
from pgface.server.errors import known_problems
from pgface.server.openapi import operations, schema_of
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
        "Generated from the code by `make docs`. You set every setting by an environment variable. An empty variable "
        "counts as not set.",
        "",
        "The address of the web service has options of [`pgface serve`](command-line.md), and these variables, which "
        "`pgface healthcheck` reads too: `PGFACE_LISTEN_HOST`, `PGFACE_LISTEN_PORT`, `PGFACE_CERTIFICATE` and "
        "`PGFACE_CERTIFICATE_KEY`.",
        "",
        "| variable | meaning | default |",
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

Generated from the code by `make docs`. [openapi.json](openapi.json) describes every body and every response, with
examples. A running service has the same document at `/api/v1/openapi.json`.

Send credentials as `Authorization: Bearer ...`. Programs use an API key (`pgface keys create`), and users the token of
a login.

- **Photos** are files in multipart/form-data, with or without a file name, or base64 in JSON. The base64 may use the
  standard alphabet or the one for URLs, with or without line breaks and padding. A `data:` URL works too.
- **JSON** is in UTF-8. Unknown fields are refused.
- **Idempotency**: calls that create something accept the header `Idempotency-Key`. You can repeat such a call with the
  same key, and it is done once.
- **Pages**: send the `next_cursor` of a page as the `cursor` of the next one.

If an error has the code `several-faces`, crop the photo to one person, or send the field `face` with the value
`largest`."""
_PROBLEMS = """
## Problems

An error is a problem of RFC 9457, `application/problem+json`. `code` does not change between versions and is for
programs. `detail` is a sentence for people. `errors` names the fields that cannot be used. `request_id` identifies the
request in the log, and is also the header `X-Request-Id`.

If the service itself fails, the problem does not say why, and the log does. The status is 503 if the database, the
model or the disk is not available, and 500 if pgface has a bug. If a body is refused before it has arrived, the
connection may be closed after the response.

| code | status | meaning |
|---|---|---|"""


def http_api() -> str:
    """The page of the service's operations and problems."""
    document = create_app().openapi()
    lines = [_HTTP_API]
    for tag in document["tags"]:
        lines += ["", f"## {tag['name'].capitalize()}", "", tag["description"]]
        for method, path, operation in operations(document):
            if operation["tags"] == [tag["name"]]:
                lines += _operation(document, f"{method} {path}", operation)
    lines.append(_PROBLEMS)
    told = [
        problem
        for problem in sorted(known_problems())
        if problem[1] < 500 or problem[0] in ("service-busy", "work-timeout")
    ]
    lines += [f"| `{code}` | {status} | {sentence} |" for code, status, sentence in told]
    return "\n".join(lines) + "\n"


def _operation(document: dict[str, Any], address: str, operation: dict[str, Any]) -> Iterator[str]:
    """The section of an operation: who may call it, what it takes, and how it responds."""
    yield from ("", f"### {operation['summary']}", "", f"`{address}`", "", operation["description"])
    yield from ("", f"Who may call it: {operation['x-callers']}.")
    body: dict[str, Any] = operation.get("requestBody", {}).get("content", {})
    schema = schema_of(document, body["application/json"]) if "application/json" in body else {}
    rows = [
        _row(name, field, name in schema.get("required", ())) for name, field in schema.get("properties", {}).items()
    ]
    rows += [
        _row(asked["name"], asked["schema"] | asked, asked.get("required", False), _PLACES[asked["in"]])
        for asked in operation.get("parameters", ())
        if asked["in"] in _PLACES
    ]
    if body:
        yield from ("", f"The body is {' or '.join(f'`{kind}`' for kind in body)}.")
    if rows:
        yield from ("", "| field | type | default | description |", "|---|---|---|---|", *rows)
    for example in schema.get("examples", ()):
        yield from ("", "```json", _json(example), "```")
    for status, response in operation["responses"].items():
        if "$ref" not in response:
            yield from _response(document, status, response)
    errors = [f"`{status}`" for status, response in operation["responses"].items() if "$ref" in response]
    yield from ("", f"Errors: {', '.join(errors)}.")


def _response(document: dict[str, Any], status: str, response: dict[str, Any]) -> Iterator[str]:
    yield from ("", f"`{status}`: {response['description']}")
    content = response.get("content", {}).get("application/json")
    if content and status != "503":
        for example in schema_of(document, content)["examples"]:
            yield from ("", "```json", _json(example), "```")


def _json(value: Any) -> str:
    line = json.dumps(value, ensure_ascii=False)
    return line if len(line) <= _MAX_LINE else json.dumps(value, ensure_ascii=False, indent=2)


def _row(name: str, field: dict[str, Any], required: bool, place: str = "") -> str:
    kinds = [one for one in field.get("anyOf", [field]) if one.get("type") != "null"]
    default = field.get("default")
    shown = "required" if required else "" if default is None else f"`{json.dumps(default)}`"
    what = f"{place} {field.get('description', '')}".strip()
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
_KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "object": "JSON object",
}
_MAX_LINE = 100

# What depends on the machine is said in words.
_DEFAULTS = {
    "data_dir": "the platform's user data folder, or `/var/lib/pgface` for root",
    "workers": "the number of processors",
}


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """A command by its full name, or the commands of a group. A group can be a command too."""
    if isinstance(command, TyperGroup):
        if command.invoke_without_command:
            yield name, command
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
| 0 | Success. If no user matches, that is also success. |
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
    sizing.PAGE.write_text(sizing.write_tables(sizing.PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
