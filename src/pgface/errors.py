"""Every error that pgface raises, in one tree.

The docstring of a class is its default message: one sentence that says what happened and what to do.
Catch `PgfaceError` for all of them, or a branch:

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
    │   ├── WeightsMismatchError
    │   └── LicenseNotAcceptedError
    ├── DatabaseError
    │   ├── DatabaseUnreachableError
    │   ├── DatabaseAccessError
    │   ├── PgvectorError
    │   ├── SchemaMissingError
    │   ├── SchemaTooNewError
    │   ├── SessionNeededError
    │   ├── TableLockedError
    │   ├── IndexNotBuiltError
    │   ├── EmbeddedPostgresError
    │   └── PostgresProgramError
    ├── AccountError
    │   ├── WeakPasswordError
    │   ├── LoginRefusedError
    │   ├── TooManyAttemptsError
    │   ├── LivenessError
    │   ├── NotLoggedInError
    │   ├── KeyRefusedError
    │   ├── UnknownLoginError
    │   └── UnknownKeyError
    ├── RequestError
    │   ├── NotAuthenticatedError
    │   ├── NotPermittedError
    │   ├── CursorError
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
        ├── UnknownUserError
        ├── AmbiguousUserError
        ├── UnknownPhotoError
        ├── DuplicateEmailError
        └── FaceOfAnotherUserError
"""

from __future__ import annotations

from pgface.text import counted


class PgfaceError(Exception):
    """pgface could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((self.__doc__ or "").split()))


class SettingsError(PgfaceError):
    """A setting has a value that pgface cannot use; correct the environment variable named above."""


class StorageError(PgfaceError):
    """A file could not be written; check the disk's free space and the folder's permissions."""


class WorkerEndedError(PgfaceError):
    """A worker process ended early; give more memory, and call it in a script under `if __name__ == "__main__":`."""


class PhotoError(PgfaceError):
    """This photo cannot be used; choose another one."""


class PhotoNotReadableError(PhotoError):
    """This photo cannot be read; give the path of a file that you may read."""


class PhotoTooLargeError(PhotoError):
    """This photo is over the limit; make it smaller, or raise the limit."""


class PhotoFormatError(PhotoError):
    """This file is not a photo that can be decoded; give a JPEG, PNG, WebP, GIF, TIFF or BMP file."""


class NoFaceError(PhotoError):
    """No face was found in this photo; choose one in which the face is large, upright and well lit."""


class SeveralFacesError(PhotoError):
    """Several faces were found in this photo; crop it to one person, or choose the largest face."""

    CHOICE = "ask for the largest face"
    """What a refusal advises. The service and the command line say in its place which field or option that is."""


class LowQualityError(PhotoError):
    """The face in this photo is of too low quality; choose a larger, sharper, better lit and more frontal one."""


class EmbeddingError(PgfaceError):
    """An embedding must be 512 finite numbers that are not all zero."""


class EvaluationError(PgfaceError):
    """These photos cannot be evaluated; give at least two people, and two photos of one of them."""


class MigrationError(PgfaceError):
    """The old installation cannot be migrated as it is; nothing was written."""


class TransferError(PgfaceError):
    """This is no export of a gallery; give what `pgface export` wrote."""


class ArchiveError(PgfaceError):
    """This is not a whole archive of `pgface backup`; take another copy of it, or an older one."""


class PassphraseError(ArchiveError):
    """The archive does not open with this passphrase; give the one that it was made with."""


class ModelError(PgfaceError):
    """The face model cannot be used."""


class UnknownModelError(ModelError):
    """There is no such model; `pgface models list` names those that there are."""


class ModelNotInstalledError(ModelError):
    """The model is not installed; run `pgface models install NAME`, or give the folder that holds its files."""


class ModelDownloadError(ModelError):
    """The model could not be downloaded; try again with a network, or give the folder that holds its files."""


class WeightsMismatchError(ModelError):
    """The model's files are not the expected ones; remove them and run `pgface models install NAME` again."""


class LicenseNotAcceptedError(ModelError):
    """This model has a licence that must be accepted; read it, then add `--accept-license`."""


class DatabaseError(PgfaceError):
    """PostgreSQL could not do what was asked; nothing was changed."""


class DatabaseUnreachableError(DatabaseError):
    """PostgreSQL cannot be reached; check that it runs and that PGFACE_DATABASE_URL is right."""


class DatabaseAccessError(DatabaseError):
    """PostgreSQL refused access; check the user, password and rights in PGFACE_DATABASE_URL."""


class PgvectorError(DatabaseError):
    """pgvector 0.7 or newer is needed in this database; install it on the server and try again."""


class SchemaMissingError(DatabaseError):
    """There is no gallery in this database yet; run `pgface init`."""


class SchemaTooNewError(DatabaseError):
    """This database was made by a newer pgface; upgrade pgface to use it."""


class SessionNeededError(DatabaseError):
    """This needs a session of its own, and a pooler is in between; set PGFACE_DIRECT_URL to PostgreSQL itself."""


class TableLockedError(DatabaseError):
    """Somebody else uses the tables, and this would have had to wait; try again later. Nothing was changed."""


class IndexNotBuiltError(DatabaseError):
    """The embeddings are loaded and found, but the vector index could not be built; run `pgface init` to build it."""


class EmbeddedPostgresError(DatabaseError):
    """The embedded PostgreSQL could not be started; see its log in the data folder."""


class PostgresProgramError(DatabaseError):
    """pg_dump or pg_restore could not do its work; nothing was changed."""


class AccountError(PgfaceError):
    """The account could not do what was asked; nothing was changed."""


class WeakPasswordError(AccountError):
    """This password is too easily guessed; choose a longer one, of several words."""


class LoginRefusedError(AccountError):
    """The e-mail or the password is not right."""


class TooManyAttemptsError(AccountError):
    """There were too many failed attempts. Wait, and try again."""

    def __init__(self, retry_after: int = 1) -> None:
        super().__init__(f"There were too many failed attempts. Try again in {counted(retry_after, 'second')}.")
        self.retry_after = retry_after
        """Seconds."""


class LivenessError(AccountError):
    """The head did not turn as it was asked to; try again in good light, and turn it slowly."""


class NotLoggedInError(AccountError):
    """This login is not known, or has ended; log in again."""


class KeyRefusedError(AccountError):
    """This API key is not known, or was revoked; make another one with `pgface keys create`."""


class UnknownLoginError(AccountError):
    """There is no such login, or it has ended."""


class UnknownKeyError(AccountError):
    """There is no such API key, or it was revoked; `pgface keys list` shows those that there are."""


class RequestError(PgfaceError):
    """This request cannot be understood; the documentation of the service shows what it takes."""


class NotAuthenticatedError(RequestError):
    """This needs an API key or a token of a login, in the header `Authorization: Bearer ...`."""


class NotPermittedError(RequestError):
    """This is not permitted to you."""


class CursorError(RequestError):
    """This cursor is not one that this list gave; begin again without one."""


class MediaTypeError(RequestError):
    """The body must be multipart/form-data, or application/json with photos in base64."""


class RequestTooLargeError(RequestError):
    """The body is larger than this request may be."""


class RequestTooSlowError(RequestError):
    """The body did not arrive in time; send it again, faster or smaller."""


class RequestRepeatedError(RequestError):
    """A request with this Idempotency-Key is under way; try again in a moment."""


class KeyUsedBeforeError(RequestError):
    """This Idempotency-Key was used for another request; take a new one."""


class ServiceBusyError(RequestError):
    """The service has as much to do as it takes on; try again in a moment."""


class WorkTimeoutError(RequestError):
    """This took longer than the service allows, and was given up; try again later, or with a smaller photo."""


class WorkCancelledError(RequestError):
    """The client closed the connection before the answer was ready, so the work was given up."""


class GalleryError(PgfaceError):
    """The gallery could not do what was asked; nothing was changed."""


class GalleryNotEmptyError(GalleryError):
    """An archive is restored into an empty gallery, or where there is none; choose another one with PGFACE_SCHEMA."""


class ModelMismatchError(GalleryError):
    """This gallery is bound to another model, and embeddings of two models cannot be compared."""


class UnknownUserError(GalleryError):
    """There is no such user in this gallery; `pgface users list` shows those that there are."""


class AmbiguousUserError(GalleryError):
    """Several users have this name; give the id or the e-mail of the one that you mean."""


class UnknownPhotoError(GalleryError):
    """There is no such photo in this gallery; `pgface photos list` shows those that there are."""


class DuplicateEmailError(GalleryError):
    """A user with this e-mail is already in the gallery."""


class FaceOfAnotherUserError(GalleryError):
    """This face already belongs to another user of the gallery; nothing was enrolled."""
