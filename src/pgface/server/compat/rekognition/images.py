"""The photo of a request: its bytes, or an object of an S3-compatible store that the operator names."""

from __future__ import annotations

from contextlib import closing
from functools import lru_cache
from typing import Any, Final

from pgface.errors import PhotoFormatError, PhotoTooLargeError
from pgface.faces.cancellation import waiting
from pgface.faces.photo import Upload
from pgface.server.compat.rekognition.errors import AwsError
from pgface.server.logs import log_failure
from pgface.settings import Settings
from pgface.system.extras import how_to_install

MAX_OBJECT_BYTES: Final = 15 * 1024 * 1024
"""The limit of AWS for an image in a bucket."""
_SIGNATURES: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_NAME: Final = "image"
_TIMEOUT: Final = 10
_INVALID_OBJECT: Final = "InvalidS3ObjectException"
_NO_OBJECT: Final = (
    "The object cannot be read. Check the bucket, the name and the version, and that the operator of this service "
    "permits the bucket."
)


def photo_in(image: dict[str, Any], settings: Settings) -> Upload:
    """Return the photo of an Image. Call it in a worker, because reading an object takes time.

    Raises:
        AwsError: there is no image, or the object cannot be read.
        PhotoFormatError: it is neither JPEG nor PNG.
        PhotoTooLargeError: the object is too large.

    """
    if ("Bytes" in image) == ("S3Object" in image):
        raise AwsError("InvalidParameterException", "An Image needs either Bytes or S3Object.")
    data = image["Bytes"] if "Bytes" in image else _read_object(image["S3Object"], settings)
    if not data.startswith(_SIGNATURES):
        raise PhotoFormatError("The image is neither a JPEG nor a PNG.")
    return Upload(_NAME, data)


def _read_object(place: dict[str, Any], settings: Settings) -> bytes:
    bucket, name = place.get("Bucket"), place.get("Name")
    if bucket is None or name is None:
        raise AwsError("InvalidParameterException", "An S3Object needs Bucket and Name.")
    permitted = {one.strip() for one in settings.s3_buckets.split(",")} - {""}
    if settings.s3_endpoint is None or bucket not in permitted:
        raise AwsError(_INVALID_OBJECT, _NO_OBJECT)
    version = {"VersionId": place["Version"]} if "Version" in place else {}
    try:
        client = _client(settings.s3_endpoint)
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise AwsError(_INVALID_OBJECT, f"Objects need boto3. Install it with {how_to_install('s3')}.") from None
    try:
        with waiting():
            found = client.get_object(Bucket=bucket, Key=name, **version)
            with closing(found["Body"]) as body:
                data: bytes = body.read(MAX_OBJECT_BYTES + 1) if found["ContentLength"] <= MAX_OBJECT_BYTES else b""
    except (BotoCoreError, ClientError, OSError) as error:
        if not isinstance(error, ClientError):  # the store does not answer, or there are no credentials
            log_failure(error)
        raise AwsError(_INVALID_OBJECT, _NO_OBJECT) from error
    if not 0 < len(data) <= MAX_OBJECT_BYTES:
        raise PhotoTooLargeError(f"The object must have 1 to {MAX_OBJECT_BYTES:,} bytes.")
    return data


@lru_cache(maxsize=1)
def _client(endpoint: str) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=_TIMEOUT,
        read_timeout=_TIMEOUT,
        retries={"total_max_attempts": 2},
        s3={"addressing_style": "path"},
    )
    return boto3.session.Session().client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config)
