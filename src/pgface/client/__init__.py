"""Clients of the web service of pgface.

from pgface.client import Client

with Client("http://127.0.0.1:8000", key) as service:
    service.enroll_photo_by_email("alice.jpg", "alice@example.org", "Alice")
    for face in service.identify("group.jpg").faces:
        print(face.box, face.matches)

This package needs only httpx and pydantic, and imports neither the engines nor the driver of PostgreSQL.
"""

from pgface.system.extras import how_to_install

try:
    import httpx  # noqa: F401 - the other modules of this package need it
except ImportError as error:
    raise ImportError(f"The client needs the package httpx. Install it with {how_to_install('client')}.") from error

from pgface.client.calls import PhotoSource
from pgface.client.client import AsyncClient, Client
from pgface.client.errors import (
    ClientError,
    ConflictError,
    FieldProblem,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    PhotoRefusedError,
    Problem,
    ProblemError,
    ResponseError,
    ServiceFailedError,
    TooManyRequestsError,
    UnauthorizedError,
    UnexpectedResponseError,
    UnreachableError,
)
from pgface.client.models import (
    Account,
    AuditEntry,
    Box,
    Challenge,
    Comparison,
    Enrollment,
    Event,
    Face,
    Gallery,
    Identification,
    IdentifiedFace,
    Introspection,
    Job,
    Key,
    LivenessStep,
    Login,
    Match,
    NewKey,
    NewLogin,
    Page,
    Photo,
    Quality,
    Readiness,
    Replica,
    Status,
    User,
    Verification,
)

__all__ = [
    "Account",
    "AsyncClient",
    "AuditEntry",
    "Box",
    "Challenge",
    "Client",
    "ClientError",
    "Comparison",
    "ConflictError",
    "Enrollment",
    "Event",
    "Face",
    "FieldProblem",
    "ForbiddenError",
    "Gallery",
    "Identification",
    "IdentifiedFace",
    "Introspection",
    "InvalidRequestError",
    "Job",
    "Key",
    "LivenessStep",
    "Login",
    "Match",
    "NewKey",
    "NewLogin",
    "NotFoundError",
    "Page",
    "Photo",
    "PhotoRefusedError",
    "PhotoResult",
    "PhotoSource",
    "Problem",
    "ProblemError",
    "Quality",
    "Readiness",
    "Replica",
    "ResponseError",
    "ServiceFailedError",
    "Status",
    "TooManyRequestsError",
    "UnauthorizedError",
    "UnexpectedResponseError",
    "UnreachableError",
    "User",
    "Verification",
]
