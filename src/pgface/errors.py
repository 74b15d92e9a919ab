"""Every error that pgface raises, in one tree.

The docstring of a class is its default message. It says what happened, then what to do.
Catch `PgfaceError` for all errors, or the class of a branch:

    PgfaceError
    ├── SettingsError
    ├── StorageError
    ├── WorkerEndedError
    ├── PhotoError
    │   ├── PhotoNotReadableError
    │   ├── PhotoTooLargeError
    │   ├── PhotoFormatError
    │   ├── NoFaceError
    │   ├── SeveralFacesError
    │   └── LowQualityError
    ├── EmbeddingError
    ├── EvaluationError
    ├── MigrationError
    ├── TransferError
    ├── ArchiveError
    │   └── PassphraseError
    ├── ModelError
    │   ├── UnknownModelError
    │   ├── ModelNotInstalledError
    │   ├── ModelDownloadError
    │   ├── ExecutionProviderError
    │   ├── WeightsMismatchError
    │   └── LicenseNotAcceptedError
    ├── DatabaseError
    │   ├── DatabaseUnreachableError
    │   ├── DatabaseAccessError
    │   ├── PgvectorError
    │   ├── SchemaMissingError
    │   ├── SchemaTooNewError
    │   ├── SessionNeededError
    │   ├── ReadOnlyError
    │   ├── ReplicaBehindError
    │   ├── TableLockedError
    │   ├── IndexNotBuiltError
    │   ├── EmbeddedPostgresError
    │   └── PostgresProgramError
    ├── AccountError
    │   ├── WeakPasswordError
    │   ├── LoginRefusedError
    │   ├── TooManyAttemptsError
    │   ├── LivenessError
    │   ├── UnknownLivenessSessionError
    │   ├── NotLoggedInError
    │   ├── KeyRefusedError
    │   ├── UnknownLoginError
    │   └── UnknownKeyError
    ├── RequestError
    │   ├── NotAuthenticatedError
    │   ├── NotPermittedError
    │   ├── CursorError
    │   │   └── EventsDeletedError
    │   ├── MediaTypeError
    │   ├── RequestTooLargeError
    │   ├── RequestTooSlowError
    │   ├── RequestRepeatedError
    │   ├── KeyUsedBeforeError
    │   ├── ServiceBusyError
    │   ├── WorkTimeoutError
    │   └── WorkCancelledError
    └── GalleryError
        ├── GalleryNotEmptyError
        ├── ModelMismatchError
        ├── UnknownGalleryError
        ├── DuplicateGalleryError
        ├── UnknownUserError
        ├── AmbiguousUserError
        ├── UnknownPhotoError
        ├── PhotoArchiveError
        ├── UnknownJobError
        ├── JobFinishedError
        ├── DuplicateEmailError
        ├── DuplicateExternalIdError
        └── FaceOfAnotherUserError
"""

from __future__ import annotations

from pgface.text import counted


class PgfaceError(Exception):
    """pgface could not do this."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((self.__doc__ or "").split()))


class SettingsError(PgfaceError):
    """A setting has a value that pgface cannot use. Correct the environment variable."""


class StorageError(PgfaceError):
    """A file could not be written. Check the free disk space and the permissions of the folder."""


class WorkerEndedError(PgfaceError):
    """A worker process ended early. Give it more memory, and call pgface in a script under `if __name__ ==
    "__main__":`."""


class PhotoError(PgfaceError):
    """This photo cannot be used. Choose another one."""


class PhotoNotReadableError(PhotoError):
    """This photo cannot be read. Give the path of a file that you may read."""


class PhotoTooLargeError(PhotoError):
    """This photo is over the limit. Make it smaller, or raise the limit."""


class PhotoFormatError(PhotoError):
    """This file is not a photo that pgface can decode. Give a JPEG, PNG, WebP, GIF, TIFF or BMP file."""


class NoFaceError(PhotoError):
    """No face was found in this photo. Choose one in which the face is large, upright and well lit."""


class SeveralFacesError(PhotoError):
    """Several faces were found in this photo. Crop it to one person, or choose the largest face."""

    CHOICE = 'use `face="largest"`'
    """The end of the message. The service and the command line replace it by the name of their field or option."""


class LowQualityError(PhotoError):
    """The quality of the face is too low. Choose a photo in which it is larger, sharper, better lit or more frontal."""


class EmbeddingError(PgfaceError):
    """An embedding must be 512 finite numbers that are not all zero."""


class EvaluationError(PgfaceError):
    """These photos cannot be evaluated. Give at least two people, and two photos of one of them."""


class MigrationError(PgfaceError):
    """The old installation cannot be migrated as it is. Nothing was written."""


class TransferError(PgfaceError):
    """This is not an export of a gallery. Give the file that `pgface export` wrote."""


class ArchiveError(PgfaceError):
    """This archive of `pgface backup` is damaged or incomplete. Use another copy of it, or an older archive."""


class PassphraseError(ArchiveError):
    """This passphrase does not open the archive. Give the passphrase that it was encrypted with."""


class ModelError(PgfaceError):
    """The face model cannot be used."""


class UnknownModelError(ModelError):
    """There is no such model. `pgface models list` shows the models."""


class ModelNotInstalledError(ModelError):
    """The model is not installed. Run `pgface models install NAME`, or give the folder with its files."""


class ModelDownloadError(ModelError):
    """The model could not be downloaded. Connect to a network and try again, or give the folder with its files."""


class ExecutionProviderError(ModelError):
    """ONNX Runtime cannot run the model where PGFACE_EXECUTION_PROVIDER says. Correct it, or set it to CPU."""


class WeightsMismatchError(ModelError):
    """The model's files are not the expected ones. Delete them and run `pgface models install NAME` again."""


class LicenseNotAcceptedError(ModelError):
    """You must accept the licence of this model. Read it, then add `accept_license=True`."""


class DatabaseError(PgfaceError):
    """PostgreSQL could not do this. Nothing was changed."""


class DatabaseUnreachableError(DatabaseError):
    """PostgreSQL cannot be reached. Check that it runs and that PGFACE_DATABASE_URL is right."""


class DatabaseAccessError(DatabaseError):
    """PostgreSQL refused access. Check the user, the password and the rights in PGFACE_DATABASE_URL."""


class PgvectorError(DatabaseError):
    """This database needs pgvector 0.7 or newer. Install it on the server and try again."""


class SchemaMissingError(DatabaseError):
    """There is no gallery in this database yet. Run `pgface init`."""


class SchemaTooNewError(DatabaseError):
    """A newer pgface made this database. Upgrade pgface to use it."""


class SessionNeededError(DatabaseError):
    """This needs its own session, and a pooler is in between. Set PGFACE_DIRECT_URL to PostgreSQL itself."""


class ReadOnlyError(DatabaseError):
    """This PostgreSQL server is a replica or set to read-only, so it only reads. Nothing was changed.
    Send changes to the primary."""


class ReplicaBehindError(DatabaseError):
    """This PostgreSQL server is a replica, and it has not followed the primary for longer than PGFACE_MAX_REPLICA_LAG.
    Ask the primary, or wait until the replica follows again."""


class TableLockedError(DatabaseError):
    """Another session has locked the tables. Nothing was changed. Try again later."""


class IndexNotBuiltError(DatabaseError):
    """The embeddings can be searched, but the vector index could not be built. Run `pgface init` to build it."""


class EmbeddedPostgresError(DatabaseError):
    """The embedded PostgreSQL could not be started. See its log in the data folder."""


class PostgresProgramError(DatabaseError):
    """pg_dump or pg_restore failed. Nothing was changed."""


class AccountError(PgfaceError):
    """The account could not do this. Nothing was changed."""


class WeakPasswordError(AccountError):
    """This password is too easy to guess. Choose a longer one, of several words."""


class LoginRefusedError(AccountError):
    """Wrong e-mail or password."""


class TooManyAttemptsError(AccountError):
    """There were too many failed attempts. Wait, and try again."""

    def __init__(self, retry_after: int = 1) -> None:
        super().__init__(f"There were too many failed attempts. Try again in {counted(retry_after, 'second')}.")
        self.retry_after = retry_after
        """Seconds to wait before the next attempt."""


class LivenessError(AccountError):
    """Your head did not turn as requested. Try again in good light, and turn it slowly."""


class UnknownLivenessSessionError(AccountError):
    """There is no such liveness session, or it has ended. Start another one."""


class NotLoggedInError(AccountError):
    """This session is unknown, or it has ended. Log in again."""


class KeyRefusedError(AccountError):
    """This API key is unknown, or it was revoked. Make another one with `pgface keys create`."""


class UnknownLoginError(AccountError):
    """There is no such session, or it has ended."""


class UnknownKeyError(AccountError):
    """There is no such API key, or it was revoked. `pgface keys list` shows the keys."""


class RequestError(PgfaceError):
    """This request cannot be understood. The documentation of the service shows what it accepts."""


class NotAuthenticatedError(RequestError):
    """This needs an API key or the token of a session, in the header `Authorization: Bearer ...`."""


class NotPermittedError(RequestError):
    """You do not have permission to do this."""


class CursorError(RequestError):
    """This cursor does not belong to this list. Start again without a cursor."""


class EventsDeletedError(CursorError):
    """Events after this cursor were deleted. Read the users again, then the events without a cursor."""


class MediaTypeError(RequestError):
    """The body must be multipart/form-data, or application/json with photos in base64."""


class RequestTooLargeError(RequestError):
    """The body is larger than this request allows."""


class RequestTooSlowError(RequestError):
    """The body did not arrive in time. Send it again, faster or smaller."""


class RequestRepeatedError(RequestError):
    """A request with this Idempotency-Key is still running. Try again in a moment."""


class KeyUsedBeforeError(RequestError):
    """This Idempotency-Key was already used for a different request. Use a new key."""


class ServiceBusyError(RequestError):
    """The service is busy. Try again in a moment."""


class WorkTimeoutError(RequestError):
    """This took longer than the service allows, so it was stopped. Try again later, or with a smaller photo."""


class WorkCancelledError(RequestError):
    """The client closed the connection before the answer was ready, so the work was stopped."""


class GalleryError(PgfaceError):
    """The gallery could not do this. Nothing was changed."""


class GalleryNotEmptyError(GalleryError):
    """The target gallery is not empty. Restore into an empty one, which you choose with PGFACE_SCHEMA."""


class ModelMismatchError(GalleryError):
    """This gallery is bound to another model. Embeddings of two models cannot be compared."""


class UnknownGalleryError(GalleryError):
    """There is no such gallery. `pgface galleries list` shows the galleries."""


class DuplicateGalleryError(GalleryError):
    """A gallery with this name exists already."""


class UnknownUserError(GalleryError):
    """There is no such user in this gallery. `pgface users list` shows the users."""


class AmbiguousUserError(GalleryError):
    """Several users have this name. Give the id or the e-mail of the user."""


class UnknownPhotoError(GalleryError):
    """There is no such photo in this gallery. `pgface photos list` shows the photos."""


class PhotoArchiveError(GalleryError):
    """The archive cannot be used. Send a ZIP or TAR file with a folder of photos for each person."""


class UnknownJobError(GalleryError):
    """There is no such job in this gallery. `pgface jobs list` shows the jobs."""


class JobFinishedError(GalleryError):
    """This job has ended already, so it cannot be cancelled."""


class DuplicateEmailError(GalleryError):
    """A user with this e-mail is already in the gallery."""


class DuplicateExternalIdError(GalleryError):
    """Another user of the gallery has this external id. Give each user an id of their own."""


class FaceOfAnotherUserError(GalleryError):
    """This face already belongs to another user of the gallery. Nothing was enrolled."""

    ADVICE = "Enroll it for that user, or allow it for this one with `allow_other_user=True`."
    """The end of the message. The service leaves it out, because its clients do not call Python."""
