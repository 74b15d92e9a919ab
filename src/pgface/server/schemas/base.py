"""The fields and base classes that the schemas share."""

from __future__ import annotations

import binascii
import hashlib
from datetime import datetime
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Self, get_args, get_origin
from urllib.parse import unquote

import pydantic_core
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)

from pgface.faces.face_choice import WhichFace
from pgface.faces.photo import Upload
from pgface.server.service import Service

UNNAMED: Final = "photo"
"""The file name of a photo that came without one."""
EXAMPLE_PHOTO: Final = "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA=="
"""The first bytes of a JPEG in base64."""
_STANDARD_ALPHABET: Final = bytes.maketrans(b"-_", b"+/")
"""Converts the base64 alphabet for URLs (RFC 4648, section 5) to the standard one."""
_SPACES: Final = b" \t\r\n"


def _as_upload(value: object) -> Upload:
    if isinstance(value, Upload):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a file, or its bytes in base64")  # noqa: TRY004 - pydantic expects a ValueError
    return Upload(UNNAMED, _decoded(value))


def _decoded(text: str) -> bytes:
    """Decode base64 with or without line breaks and padding, in either alphabet, or in a data URL."""
    if text[:5].lower() == "data:":
        media_type, _, text = text.partition(",")
        if not media_type.lower().rstrip().endswith(";base64"):
            raise ValueError("must be in base64, and this data URL does not say `;base64`")
        text = unquote(text)
    try:
        data = text.encode("ascii").translate(_STANDARD_ALPHABET, _SPACES).rstrip(b"=")
        return binascii.a2b_base64(data + b"=" * (-len(data) % 4), strict_mode=True)
    except ValueError:  # UnicodeEncodeError and binascii.Error are ValueErrors
        raise ValueError("must be a file, or its bytes in base64") from None


def _text(value: str) -> str:
    if any("\ud800" <= character <= "\udfff" or character == "\0" for character in value):
        raise ValueError("contains characters that are not text")
    return value


def _as_object(value: object) -> object:
    """Parse the text of a JSON object, as a form contains it."""
    if not isinstance(value, str):
        return value
    try:
        return pydantic_core.from_json(value)
    except ValueError:
        raise ValueError("must be a JSON object") from None


def _as_utc(value: datetime, info: ValidationInfo) -> datetime:
    service: Service | None = info.context
    return value if service is None else service.as_utc(value)


PhotoField = Annotated[
    Upload, PlainValidator(_as_upload), WithJsonSchema({"type": "string", "contentEncoding": "base64"})
]
"""The file of a photo."""
Text = Annotated[str, AfterValidator(_text)]
"""Text without zero bytes and surrogates, which PostgreSQL cannot store."""
Email = Annotated[Text, Field(max_length=255, description="The user's e-mail.")]
Password = Annotated[str, Field(max_length=1024, json_schema_extra={"format": "password"})]
Name = Annotated[Text, Field(max_length=255)]
ExternalId = Annotated[
    Text, Field(max_length=255, description="The id of the user in another system, unique in the gallery.")
]
Labels = Annotated[
    list[Annotated[Text, Field(min_length=1, max_length=64)]],
    Field(max_length=32, description="The labels of the user."),
]
Metadata = Annotated[
    dict[str, Any],
    BeforeValidator(_as_object),
    Field(description="A JSON object of up to 8 kB, with up to 8 levels. In a form, its text."),
]
Similarity = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
FaceChoice = Annotated[
    WhichFace,
    Field(
        description="`only` refuses a photo with several faces, unless the others are less than a quarter as wide. "
        "`largest` takes the largest, `central` the large one nearest the middle. At enrollment, `only` leaves faces "
        "in the background aside."
    ),
]
Timestamp = Annotated[datetime, AfterValidator(_as_utc)]
"""A time of the database, in UTC."""


class RequestBody(BaseModel):
    """The body of a request. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    max_file_bytes: ClassVar[int | None] = None
    """The limit of all files together. By default PGFACE_MAX_PHOTO_BYTES for each photo."""

    @classmethod
    @cache
    def photo_fields(cls) -> frozenset[str]:
        """Return the names of the fields with one or several photos."""
        return frozenset(name for name, field in cls.model_fields.items() if Upload in _types_in(field.annotation))

    @classmethod
    @cache
    def list_fields(cls) -> frozenset[str]:
        """Return the names of the fields that a form may repeat."""
        return frozenset(name for name, field in cls.model_fields.items() if list in _types_in(field.annotation))

    def fingerprint(self) -> str:
        """Return a SHA-256 of the fields, which is the same for a repeated request. The bytes of forms differ."""
        digest = hashlib.sha256()
        for name in sorted(type(self).model_fields):
            value = getattr(self, name)
            for one in value if isinstance(value, list) else [value]:
                data = one.name.encode() + b"\0" + one.data if isinstance(one, Upload) else repr(one).encode()
                digest.update(f"{name} {len(data)} ".encode() + data)
        return digest.hexdigest()


class ResponseBody(BaseModel):
    """The body of a response, made from a value of the gallery or of the accounts."""

    model_config = ConfigDict(from_attributes=True)

    @classmethod
    def of(cls, value: object, service: Service) -> Self:
        """Make the response for a value, with its timestamps in UTC."""
        return cls.model_validate(value, context=service)

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return self.model_dump(mode="json")


class Page(ResponseBody):
    """A part of a list."""

    next_cursor: str | None = Field(default=None, description="The cursor of the next page. Null at the end.")


def example(values: dict[str, Any]) -> ConfigDict:
    """Return the configuration of a schema with an example."""
    return ConfigDict(json_schema_extra={"examples": [values]})


def example_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the example of a schema, for use in another example."""
    extra: Any = model.model_config["json_schema_extra"]
    values: dict[str, Any] = extra["examples"][0]
    return values


def _types_in(annotation: Any) -> set[Any]:
    """Return a type and all types inside it."""
    return {annotation, get_origin(annotation)}.union(*(_types_in(part) for part in get_args(annotation)))
