"""The settings of pgface, read from the environment into one typed object."""

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
"""The path prefix of a service on a shared host.

Links start with it, so it contains no characters that have a meaning in URLs, HTML or headers. It has no empty part
either, because a browser takes `//evil` for another host.
"""

_PHOTO_STORE = re.compile(r"folder|postgres|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_.-]*[A-Za-z0-9_-])*")

AtLeastOne: TypeAlias = Annotated[int, Field(ge=1)]
Fraction: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Degrees: TypeAlias = Annotated[float, Field(ge=0, le=180)]
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
LoginPolicy: TypeAlias = Literal["password+face", "face+liveness", "identify+liveness"]


def photo_store_location(text: str) -> str:
    """Return the location of a photo store as the gallery records it.

    Raises:
        ValueError: it is neither `folder` nor `postgres` nor the URL of a bucket.

    """
    location = text.rstrip("/")
    if not _PHOTO_STORE.fullmatch(location):
        raise ValueError("it is not `folder`, `postgres` or a URL such as s3://bucket/prefix")
    return location


def default_data_dir() -> Path:
    """Return the platform's folder for a user's data. For root on Linux, it is a system folder.

    For root, the embedded PostgreSQL runs as a separate user. That user can reach /var/lib/pgface, but a folder in
    root's home only with wider permissions on that home.
    """
    if sys.platform == "linux" and os.geteuid() == 0:
        return Path("/var/lib/pgface")
    try:
        return platformdirs.user_data_path("pgface", appauthor=False)
    except RuntimeError:  # there is no home folder, which is reported when the setting is read
        return Path("~")


class Settings(BaseSettings):
    """The settings of a pgface process. Each is read from `PGFACE_<NAME>`.

    >>> from pathlib import Path
    >>> from pgface import Settings
    >>> Settings(data_dir=Path("/srv/faces"), PGFACE_SCHEMA="staff").photos_dir.as_posix()
    '/srv/faces/photos'

    """

    model_config = SettingsConfigDict(env_prefix="PGFACE_", env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(
        default=None, description="URL of the PostgreSQL server. Without it, pgface uses the embedded server."
    )
    direct_url: SecretStr | None = Field(
        default=None,
        description="URL of the same database without the pooler of PGFACE_DATABASE_URL. Index builds, bulk "
        "loads, migration and export need it, because each needs its own session.",
    )
    read_url: SecretStr | None = Field(
        default=None,
        description="URL of replicas of the database in PGFACE_DATABASE_URL, with one host or several. Searches go to "
        "them, and everything else to PGFACE_DATABASE_URL. A search sees every change that was committed before it.",
    )
    max_replica_lag: Annotated[float, Field(ge=0, le=365 * 24 * 3600, allow_inf_nan=False)] = Field(
        default=300.0,
        description="Seconds that PGFACE_DATABASE_URL may be behind its primary, if it is a replica. A replica that is "
        "further behind answers nothing, because it may still have people who were deleted. With 0, there is no limit.",
    )
    pooling: Literal["auto", "session", "transaction"] = Field(
        default="auto",
        description="What a pooler in between keeps on one connection: a whole `session`, as PostgreSQL "
        "itself does, or only a `transaction`. `auto` assumes `transaction` for every pooler that pgface detects.",
    )
    schema_name: Annotated[str, Field(min_length=1, max_length=63)] = Field(
        default="public", validation_alias="PGFACE_SCHEMA", description="PostgreSQL schema of the gallery."
    )
    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="Folder of the face crops, the models and the embedded PostgreSQL.",
    )
    model: str = Field(
        default="sface", description="Model that `pgface init` binds a new gallery to, by its name or folder."
    )
    detector_size: Annotated[int, Field(ge=128, le=2048, multiple_of=32)] = Field(
        default=640,
        description="Maximum longer side of the picture in which faces are searched, in pixels. With more, smaller "
        "faces of large photos are found. It does not change embeddings. dlib's detector ignores it.",
    )
    execution_provider: str = Field(
        default="CPU",
        description="Where ONNX Runtime runs: CPU, CUDA, OpenVINO, CoreML, ... Options follow a colon, as in "
        "`CUDA:device_id=1,use_tf32=0`.",
    )
    photo_store: str | None = Field(
        default=None,
        description="Where a new gallery stores its face crops: `folder`, `postgres`, or `s3://BUCKET/PREFIX`. A "
        "gallery keeps its store, and pgface refuses another one. By default pgface uses the gallery's store, and a "
        "new gallery uses the folder.",
    )
    workers: AtLeastOne = Field(
        default_factory=usable_cores,
        description="Number of photos that are decoded and embedded in parallel, in bulk work and in each process of "
        "the service. With two or more, the service takes one more, because photos wait for PostgreSQL in between.",
    )
    pool_size: AtLeastOne = Field(default=4, description="Maximum number of connections to PostgreSQL.")
    connect_timeout: Seconds = Field(default=10.0, description="Seconds to wait for a connection to PostgreSQL.")
    backup_passphrase: Annotated[SecretStr, Field(min_length=1)] | None = Field(
        default=None,
        description="Passphrase that encrypts archives of `pgface backup`, and decrypts them for `pgface restore`.",
    )
    compreface: bool = Field(
        default=False,
        description="Whether the service also answers the REST API of CompreFace, below `/api/v1`.",
    )
    access_keys_secret: Annotated[SecretStr, Field(min_length=16)] | None = Field(
        default=None,
        description="Text that encrypts the secrets of access keys in the database, at least 16 random characters. By "
        "default pgface makes one in the file `access-keys.secret` of the data folder.",
    )
    rekognition: bool = Field(
        default=False,
        description="Whether the service also answers the face operations of Amazon Rekognition, at `/` and at "
        "`/rekognition`.",
    )
    s3_endpoint: str | None = Field(
        default=None,
        description="URL of the S3-compatible store from which pgface reads the S3Object of a Rekognition request. "
        "boto3 finds the credentials, for example in AWS_ACCESS_KEY_ID. Without it, such requests are refused.",
    )
    s3_buckets: str = Field(
        default="",
        description="Buckets that pgface may read from, separated by commas. An empty list permits no bucket.",
    )
    min_password_length: Annotated[int, Field(ge=8, le=64)] = Field(
        default=15,
        description="Minimum number of characters of a new password. NIST SP 800-63B-4 requires 15 if the "
        "password is the only factor.",
    )
    login_policy: LoginPolicy = Field(
        default="password+face",
        description="What a login by face needs besides turns of the head: an e-mail and its password "
        "(`password+face`), an e-mail (`face+liveness`), or nothing else (`identify+liveness`).",
    )
    login_margin: Fraction = Field(
        default=0.05,
        description="Minimum difference in similarity between the user and the next most similar user, for "
        "`identify+liveness`.",
    )
    liveness: Literal["network", "challenge-only"] = Field(
        default="network",
        description="What a login by face without a password needs besides the turns of the head. With "
        "`network`, the service only starts if a network against presentation attacks is installed. With "
        "`challenge-only` it needs none, and a program that makes a video from a photo can log in.",
    )
    liveness_threshold: Fraction | None = Field(
        default=None,
        description="Minimum score, 0 to 1, at which an installed liveness network accepts a face. The default "
        "is the value of the network's authors: 0.915 for MiniFASNet, 0.8 for InsightFace's addon. It was not "
        "measured with pgface.",
    )
    login_hours: Annotated[float, Field(gt=0, le=24 * 365, allow_inf_nan=False)] = Field(
        default=12.0, description="Hours after which a session ends."
    )
    registration: Literal["open", "closed"] = Field(
        default="open",
        description="With `open`, anyone can register with the service. With `closed`, an administrator has "
        "to add people first.",
    )
    max_own_photos: AtLeastOne = Field(
        default=50, description="Maximum number of photos that users can enroll for themselves in the service."
    )
    audit_days: Annotated[int, Field(ge=0, le=36500)] = Field(
        default=90,
        description="Days after which the service deletes rows of the audit log, at least 30. With 0, it keeps them.",
    )
    event_days: Annotated[int, Field(ge=0, le=36500)] = Field(
        default=30, description="Days after which the service deletes events of the gallery. With 0, it keeps them."
    )
    search_events: bool = Field(
        default=False,
        description="Whether each identification and each verification adds an event. This tells readers of events "
        "when a person was seen, so do it only if a program needs it.",
    )
    queue_size: Annotated[int, Field(ge=0)] = Field(
        default=32,
        description="Maximum number of photos that wait for a free worker of the service. The service refuses "
        "further requests with 503.",
    )
    max_request_bytes_in_flight: Annotated[int, Field(gt=0)] = Field(
        default=256 * MEBI,
        description="Maximum total size of request bodies in memory, in bytes, in each process of the service. A "
        "quarter is for callers who are not logged in.",
    )
    request_timeout: Seconds = Field(
        default=30.0, description="Seconds within which the body of a request must arrive."
    )
    work_timeout: Seconds = Field(
        default=30.0,
        description="Seconds within which the service must answer a request with photos, including the time "
        "in the queue. After that, the answer is 503.",
    )
    shutdown_timeout: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=50,
        description="Seconds that running requests have to finish when the service stops. Then it ends them.",
    )
    trusted_proxies: str = Field(
        default="127.0.0.1,::1",
        description="Addresses or networks of the proxies whose X-Forwarded-For and X-Forwarded-Prefix the "
        "service trusts, separated by commas.",
    )
    root_path: str = Field(
        default="",
        description="Path of the service on a shared host, such as `/faces`, if its proxy does not send "
        "X-Forwarded-Prefix.",
    )
    jobs: bool = Field(default=False, description="Whether the service also starts a worker that runs jobs.")
    job_days: Annotated[int, Field(ge=1, le=36500)] = Field(
        default=7,
        description="Days after which the service deletes a job that has ended, with its results, and cancels a job "
        "that has not ended.",
    )
    job_stalled_seconds: Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False)] = Field(
        default=30.0,
        description="Seconds without a sign of life after which a worker of jobs counts as dead. Another worker then "
        "continues its job.",
    )
    worker_priority: Literal["low", "normal"] = Field(
        default="low",
        description="With `low`, a worker of jobs uses only what all other programs of the machine leave of the cores. "
        "With `normal`, it is a program like all others.",
    )
    max_archive_bytes: Annotated[int, Field(gt=0)] = Field(
        default=1024 * MEBI,
        description="Maximum size of the upload of a job, in bytes, as it is sent and unpacked. Four times as many "
        "bytes may wait for a worker.",
    )
    search_latency_target: Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)] = Field(
        default=0.01,
        description="Seconds that an exact comparison of a probe with the whole gallery may take. If it takes "
        "longer, pgface searches through an index.",
    )
    max_photo_bytes: Annotated[int, Field(gt=0)] = Field(
        default=30 * MEBI, description="Maximum size of a photo file, in bytes."
    )
    max_photo_pixels: Annotated[int, Field(gt=0)] = Field(
        default=64_000_000,
        description="Maximum number of pixels of a photo. pgface checks this before it decodes the photo.",
    )
    max_upload_pixels: Annotated[int, Field(gt=0)] = Field(
        default=25_000_000,
        description="Maximum number of pixels of a photo that is sent to the service. PGFACE_MAX_PHOTO_PIXELS "
        "applies too.",
    )
    max_faces: AtLeastOne = Field(
        default=50,
        description="Maximum number of faces of a photo that are embedded, the largest faces first. Answers "
        "contain the number of faces found.",
    )
    max_decoded_bytes: Annotated[int, Field(gt=0)] = Field(
        default=512 * MEBI,
        description="Maximum total size of decoded pixels in memory, in bytes, over all threads of a process.",
    )
    min_face_size: Annotated[float, Field(ge=0)] = Field(
        default=40.0, description="Minimum length of the shorter side of an enrolled face's box, in pixels."
    )
    background_face: Fraction = Field(
        default=0.5,
        description="A face narrower than this share of the largest face counts as background. Background "
        "faces do not make a photo ambiguous at enrollment. With 0, pgface refuses every photo with several faces.",
    )
    min_sharpness: Annotated[float, Field(ge=0)] = Field(
        default=0.5, description="Minimum sharpness of an enrolled face."
    )
    min_brightness: Fraction = Field(
        default=0.08, description="Minimum brightness of an enrolled face, 0 (black) to 1 (white)."
    )
    max_brightness: Fraction = Field(
        default=0.9, description="Maximum brightness of an enrolled face, 0 (black) to 1 (white)."
    )
    max_yaw: Degrees = Field(default=60.0, description="Maximum turn of an enrolled face to either side, in degrees.")
    max_pitch: Degrees = Field(default=45.0, description="Maximum tilt of an enrolled face up or down, in degrees.")

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

    @field_validator("photo_store")
    @classmethod
    def _photo_store(cls, value: str | None) -> str | None:
        return None if value is None else photo_store_location(value)

    @field_validator("database_url", "direct_url", "read_url")
    @classmethod
    def _postgres_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value().strip():
            return None
        try:
            conninfo_to_dict(value.get_secret_value())
        except ProgrammingError:
            # libpq's own message repeats parts of the URL, which may contain a password.
            raise ValueError("it is not a URL such as postgresql://user:password@host:5432/database") from None
        return value

    @property
    def photos_dir(self) -> Path:
        """The folder of the face crops."""
        return self.data_dir / "photos"

    @property
    def models_dir(self) -> Path:
        """The folder of the installed models, with a subfolder for each."""
        return self.data_dir / "models"

    @property
    def postgres_dir(self) -> Path:
        """The data folder of the embedded PostgreSQL."""
        return self.data_dir / "postgres"


@cache
def get_settings() -> Settings:
    """Read the settings from the environment, once in a process.

    Raises:
        SettingsError: a variable has a value that pgface cannot use. The message names the variable.

    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        variable = "_".join(str(part) for part in first["loc"]).upper()
        name = variable if variable.startswith("PGFACE_") else f"PGFACE_{variable}"
        raise SettingsError(f"{name} cannot be used: {first['msg'].removeprefix('Value error, ')}.") from None
