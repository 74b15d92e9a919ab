"""Everything configurable, from the environment, in one typed object."""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import platformdirs
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pgface.errors import SettingsError
from pgface.system.resources import usable_cores

MEBI = 1024 * 1024
ROOT_PATH = re.compile(r"(?=.{1,200}$)(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+")
"""A path of a shared host. Links begin with it. So it holds no characters that mean something in a URL, in HTML or in a
header, and no empty part: a browser takes `//evil` for another host."""

LoginPolicy: TypeAlias = Literal["password+face", "face+liveness", "identify+liveness"]


def default_data_dir() -> Path:
    """The platform's user data folder; for root on Linux, a folder of the system.

    The embedded PostgreSQL does not run as root but as a user of its own. Nothing above /var/lib/pgface has to be
    opened for that user, whereas root's home would have to be.
    """
    if sys.platform == "linux" and os.geteuid() == 0:
        return Path("/var/lib/pgface")
    try:
        return platformdirs.user_data_path("pgface", appauthor=False)
    except RuntimeError:  # there is no home folder, which is reported when the setting is read
        return Path("~")


class Settings(BaseSettings):
    """Settings of a pgface process; each is read from `PGFACE_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="PGFACE_", env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(
        default=None, description="PostgreSQL server, as a URL; without it the embedded one is used"
    )
    direct_url: SecretStr | None = Field(
        default=None,
        description="the same database without the pooler that PGFACE_DATABASE_URL leads to, "
        "for what needs a session of its own: index builds, bulk loads, migration, export",
    )
    pooling: Literal["auto", "session", "transaction"] = Field(
        default="auto",
        description="what a pooler in between keeps together: `session`, which PostgreSQL itself does too, or only "
        "`transaction`; `auto` takes every pooler that it notices for one of transactions",
    )
    schema_name: Annotated[str, Field(min_length=1, max_length=63)] = Field(
        default="public", validation_alias="PGFACE_SCHEMA", description="PostgreSQL schema of the gallery"
    )
    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="folder of the face crops, the models and the embedded PostgreSQL",
    )
    model: str = Field(default="dlib", description="model that `pgface init` binds a new gallery to: name or folder")
    detector_size: Annotated[int, Field(ge=128, le=2048, multiple_of=32)] = Field(
        default=640, description="square input of InsightFace's detector, in pixels"
    )
    execution_provider: str = Field(
        default="CPU", description="where ONNX Runtime runs: CPU, CUDA, OpenVINO, CoreML, ..."
    )
    workers: Annotated[int, Field(ge=1)] = Field(
        default_factory=usable_cores,
        description="photos decoded and embedded at once in bulk work, and in each process of the service",
    )
    pool_size: Annotated[int, Field(ge=1)] = Field(default=4, description="connections to PostgreSQL at most")
    connect_timeout: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = Field(
        default=10.0, description="seconds to wait for a connection to PostgreSQL"
    )
    backup_passphrase: Annotated[SecretStr, Field(min_length=1)] | None = Field(
        default=None, description="encrypts what `pgface backup` writes, and opens it for `pgface restore`"
    )
    min_password_length: Annotated[int, Field(ge=8, le=64)] = Field(
        default=15, description="characters of a new password at least; NIST SP 800-63B-4 asks for 15 where it is all"
    )
    login_policy: LoginPolicy = Field(
        default="password+face",
        description="what a login by face asks for, besides turns of the head: `password+face` an e-mail and its "
        "password, `face+liveness` an e-mail, `identify+liveness` nothing",
    )
    login_margin: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05,
        description="by how much somebody must be more similar than the next user at least, for `identify+liveness`",
    )
    liveness: Literal["network", "challenge-only"] = Field(
        default="network",
        description="what a login by face without a password needs besides the turns: `network` an installed network "
        "against presentation attacks, or the service does not start; `challenge-only` goes without one, and then a "
        "program that makes a video of a photo can log in",
    )
    liveness_threshold: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="least score, 0 to 1, with which an installed network for liveness takes a face for a living one; "
        "without it what the network's authors use, which was not measured here: 0.915 for MiniFASNet, 0.8 for "
        "InsightFace's addon",
    )
    login_hours: Annotated[float, Field(gt=0, le=24 * 365, allow_inf_nan=False)] = Field(
        default=12.0, description="hours after which a login ends"
    )
    registration: Literal["open", "closed"] = Field(
        default="open",
        description="whether anybody may register with the service, or only people whom an administrator has added",
    )
    max_own_photos: Annotated[int, Field(ge=1)] = Field(
        default=50, description="photos that a person may have by enrolling them for themselves in the service"
    )
    audit_days: Annotated[int, Field(ge=0, le=36500)] = Field(
        default=90,
        description="days after which the service removes rows of the audit log, 30 at least; 0 to keep them",
    )
    queue_size: Annotated[int, Field(ge=0)] = Field(
        default=32,
        description="photos that wait for a free worker of the service at most; for more it says 503 at once",
    )
    max_request_bytes_in_flight: Annotated[int, Field(gt=0)] = Field(
        default=256 * MEBI,
        description="bodies of requests in memory at once at most, in each process of the service; a quarter of it is "
        "for those who are not logged in",
    )
    request_timeout: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = Field(
        default=30.0, description="seconds in which the body of a request has to arrive"
    )
    work_timeout: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = Field(
        default=30.0,
        description="seconds in which the service has to have an answer about photos, with the time in the queue; "
        "then it gives up and says 503",
    )
    shutdown_timeout: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=50,
        description="seconds that the service gives to requests under way when it is to end; the rest is broken off",
    )
    trusted_proxies: str = Field(
        default="127.0.0.1,::1",
        description="addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Prefix are believed, with "
        "commas in between",
    )
    root_path: str = Field(
        default="",
        description="path of a shared host at which the service is, such as `/faces`, if its proxy does not say so in "
        "X-Forwarded-Prefix",
    )
    search_latency_target: Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)] = Field(
        default=0.01,
        description="seconds that comparing a probe with the whole gallery may take; slower ones get an index",
    )
    max_photo_bytes: Annotated[int, Field(gt=0)] = Field(
        default=30 * MEBI, description="size of a photo's file at most"
    )
    max_photo_pixels: Annotated[int, Field(gt=0)] = Field(
        default=64_000_000, description="pixels of a photo at most, checked before it is decoded"
    )
    max_upload_pixels: Annotated[int, Field(gt=0)] = Field(
        default=25_000_000,
        description="pixels of a photo that is sent to the service at most, if PGFACE_MAX_PHOTO_PIXELS allows as many",
    )
    max_faces: Annotated[int, Field(ge=1)] = Field(
        default=50,
        description="faces of a photo that are embedded at most, the largest first; answers say how many were found",
    )
    max_decoded_bytes: Annotated[int, Field(gt=0)] = Field(
        default=512 * MEBI,
        description="decoded pixels in memory at once at most, over all threads of a process",
    )
    min_face_size: Annotated[float, Field(ge=0)] = Field(
        default=40.0, description="shorter side of an enrolled face's box at least, in pixels"
    )
    background_face: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5,
        description="a face less wide than this share of the largest is in the background, and does not make a photo "
        "ambiguous at enrollment; 0 refuses every photo with several faces",
    )
    min_sharpness: Annotated[float, Field(ge=0)] = Field(
        default=0.5, description="sharpness of an enrolled face at least"
    )
    min_brightness: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.08, description="brightness of an enrolled face at least, 0 (black) to 1 (white)"
    )
    max_brightness: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.9, description="brightness of an enrolled face at most, 0 (black) to 1 (white)"
    )
    max_yaw: Annotated[float, Field(ge=0, le=180)] = Field(
        default=60.0, description="turn of an enrolled face to either side at most, in degrees"
    )
    max_pitch: Annotated[float, Field(ge=0, le=180)] = Field(
        default=45.0, description="tilt of an enrolled face up or down at most, in degrees"
    )

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        try:
            return value.expanduser().absolute()
        except RuntimeError:  # neither HOME nor the system's list of users names a home folder
            raise ValueError("this user has no home folder, so give the path of a folder") from None

    @field_validator("root_path")
    @classmethod
    def _prefix(cls, value: str) -> str:
        path = value.removesuffix("/")
        if path and not ROOT_PATH.fullmatch(path):
            raise ValueError("it is not a path such as /faces")
        return path

    @field_validator("database_url", "direct_url")
    @classmethod
    def _postgres_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value().strip():
            return None
        try:
            conninfo_to_dict(value.get_secret_value())
        except ProgrammingError:
            # libpq's own sentence repeats pieces of the URL, and it may hold a password.
            raise ValueError("it is not a URL such as postgresql://user:password@host:5432/database") from None
        return value

    @property
    def photos_dir(self) -> Path:
        """Where the face crops are kept."""
        return self.data_dir / "photos"

    @property
    def models_dir(self) -> Path:
        """Where installed model packs are kept, a folder each."""
        return self.data_dir / "models"

    @property
    def postgres_dir(self) -> Path:
        """Where the embedded PostgreSQL keeps its data."""
        return self.data_dir / "postgres"


@cache
def get_settings() -> Settings:
    """Read the settings once from the environment.

    Raises:
        SettingsError: a variable has a value that cannot be used; the sentence names it.

    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        variable = "_".join(str(part) for part in first["loc"]).upper()
        name = variable if variable.startswith("PGFACE_") else f"PGFACE_{variable}"
        raise SettingsError(f"{name} cannot be used: {first['msg'].removeprefix('Value error, ')}.") from None
