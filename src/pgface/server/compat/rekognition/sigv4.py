"""Checks signatures of requests: AWS Signature Version 4.

The rules are those of Amazon's guide, section "Create a signed AWS API request", and of botocore's `auth.py`. A client
signs the method, the path, some headers, and the hash of the body with a key that it derives from its secret.

AWS does not refuse a repeated request within the time limit, and pgface does not either. The date of a signature has
no fractions of a second, so two equal requests within a second have the same signature.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from pgface.server.compat.rekognition.errors import AwsError

MAX_SKEW: Final = timedelta(minutes=5)
"""The maximum difference between the clocks of the client and the service, as in AWS."""

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SERVICE: Final = "rekognition"
_TERMINATOR: Final = "aws4_request"
_DATE: Final = "%Y%m%dT%H%M%SZ"
_HEADER: Final = re.compile(
    r"Credential=(?P<key>[A-Za-z0-9_]{1,128})/(?P<day>[0-9]{8})/(?P<region>[A-Za-z0-9_-]{1,64})/(?P<service>[a-z0-9-]{1,64})"
    r"/(?P<terminator>[a-z0-9_]{1,64})\s*,\s*SignedHeaders=(?P<headers>[a-z0-9;-]{1,2000})\s*,\s*"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
_UNSIGNED_HEADER: Final = "x-amz-user-agent"
"""The only header `x-amz-*` that clients need not sign."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What the head of a request says about its signature."""

    access_key_id: str
    region: str
    scope: str
    signed_headers: tuple[str, ...]
    signature: str = field(repr=False)
    date: str

    def require_signature(
        self, secret: str, *, method: str, path: str, hosts: Iterable[str], headers: Mapping[str, str], body: bytes
    ) -> None:
        """Check the signature of a whole request.

        Args:
            secret: the secret of the access key.
            method: the method of the request.
            path: the path as the client sent it, in percent-encoding.
            hosts: the names of the host that the client may have signed.
            headers: the headers, with names in lower case.
            body: the body.

        Raises:
            AwsError: the signature is of another request, or was made with another secret.

        """
        digest = hashlib.sha256(body).hexdigest()
        if headers.get("x-amz-content-sha256", digest) != digest:
            raise _signature_error("The body is not the one that the header X-Amz-Content-Sha256 names.")
        key = _signing_key(secret, self.scope)
        for host in hosts:
            lines = [f"{name}:{_trimmed(host if name == 'host' else headers[name])}" for name in self.signed_headers]
            canonical = "\n".join([method, path, "", *lines, "", ";".join(self.signed_headers), digest])
            hashed = hashlib.sha256(canonical.encode("latin-1", "replace")).hexdigest()
            to_sign = "\n".join([_ALGORITHM, self.date, self.scope, hashed])
            made = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
            if hmac.compare_digest(made, self.signature):
                return
        raise _signature_error(
            "The signature is not the one that the secret access key gives for this request. Check the secret, and "
            "that no proxy changes the path, the host or the headers."
        )


def read_head(headers: Mapping[str, str], query: str, now: datetime | None = None) -> SignedRequest:
    """Read the signature from the headers of a request, and check everything that needs no secret.

    Args:
        headers: the headers, with names in lower case.
        query: the query of the URL, which must be empty.
        now: the present time.

    Raises:
        AwsError: there is no signature, or it cannot be one of this request.

    """
    header = headers.get("authorization")
    if query:
        raise AwsError(
            "IncompleteSignatureException", "The URL has a query. Presigned URLs are not accepted, so sign the headers."
        )
    if header is None:
        raise AwsError("MissingAuthenticationTokenException", "The request has no header Authorization.")
    algorithm, _, rest = header.partition(" ")
    found = _HEADER.fullmatch(rest.strip())
    if algorithm != _ALGORITHM or found is None:
        raise AwsError("IncompleteSignatureException", f"The header Authorization is not one of {_ALGORITHM}.")
    if headers.get("x-amz-security-token"):
        raise AwsError(
            "UnrecognizedClientException",
            "pgface's access keys have no session token. Send an access key of `pgface keys create --aws`.",
        )
    if found["service"] != _SERVICE or found["terminator"] != _TERMINATOR:
        raise _signature_error(f"The credential must be of the service {_SERVICE} and end with {_TERMINATOR}.")
    if headers.get("x-amz-content-sha256", "").startswith(("UNSIGNED", "STREAMING")):
        raise _signature_error("A body without a signature is not accepted. Sign the body.")
    names = tuple(found["headers"].split(";"))
    _require_signed(names, headers)
    date = headers.get("x-amz-date", "")
    _require_fresh(date, found["day"], now or datetime.now(UTC))
    scope = "/".join(found[part] for part in ("day", "region", "service", "terminator"))
    return SignedRequest(found["key"], found["region"], scope, names, found["signature"], date)


def _require_signed(names: tuple[str, ...], headers: Mapping[str, str]) -> None:
    if list(names) != sorted(set(names)) or any(name != "host" and name not in headers for name in names):
        raise _signature_error("The list SignedHeaders must name headers of the request, each once, in order.")
    needed = {"host", *(name for name in headers if name.startswith("x-amz-") and name != _UNSIGNED_HEADER)}
    if missing := sorted(needed.difference(names)):
        raise _signature_error(f"The header {missing[0]} is not signed.")


def _require_fresh(date: str, day: str, now: datetime) -> None:
    try:
        at = datetime.strptime(date, _DATE).replace(tzinfo=UTC)
    except ValueError:
        raise AwsError("IncompleteSignatureException", "The header X-Amz-Date must be like 20260131T235959Z.") from None
    if not date.startswith(day):
        raise _signature_error("The day of the credential is not that of the header X-Amz-Date.")
    if abs(at - now) > MAX_SKEW:
        state = "expired" if at < now else "not yet current"
        raise _signature_error(
            f"Signature {state}: the request is of {date}, and the service's time is {now.strftime(_DATE)}. They may "
            "differ by 5 minutes. Correct the clock of the client."
        )


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return key


def _trimmed(value: str) -> str:
    """Return the canonical value of a header, with single spaces."""
    return " ".join(value.split())


def _signature_error(sentence: str) -> AwsError:
    return AwsError("InvalidSignatureException", sentence)
