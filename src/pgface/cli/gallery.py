"""`pgface init|enroll|identify|verify|compare|status|schema`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pgface.cli.output import (
    JsonOption,
    as_given,
    print_error,
    print_facts,
    print_json,
    print_table,
    say,
)
from pgface.database.sql import init_sql
from pgface.errors import (
    EmbeddingError,
    FaceOfAnotherUserError,
    PgfaceError,
    PhotoError,
    StorageError,
    UnknownUserError,
)
from pgface.gallery.users import full_name, shown_email
from pgface.settings import get_settings
from pgface.text import counted

if TYPE_CHECKING:
    from pgface.gallery import Gallery
    from pgface.gallery.users import UserRef
    from pgface.results import Comparison, Enrollment, Identification, Status, Verification

app = typer.Typer()

_PHOTO_ERRORS = (PhotoError, EmbeddingError, FaceOfAnotherUserError)
"""Errors of one photo, after which the command continues with the next. Any other error ends it."""

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")
_MAX_ID_DIGITS = len("2147483647")


FaceChoice = Literal["only", "largest", "central"]
"""The same as `pgface.faces.choice.WhichFace`, without the imports of that module."""


def _not_nan(value: float | None) -> float | None:
    if value is not None and math.isnan(value):  # NaN passes the comparisons with min and max
        raise typer.BadParameter("it must be a number from -1 to 1")
    return value


def _folder(text: str) -> Path:
    if not text:  # as a path, an empty text is the current folder
        raise typer.BadParameter("give the path of a folder")
    return Path(text)


def _image_file(file: Path | None) -> Path | None:
    if file is not None and file.suffix.lower() not in _IMAGE_SUFFIXES:
        raise typer.BadParameter(f"give a file that ends in {', '.join(_IMAGE_SUFFIXES)}")
    return file


ThresholdOption = Annotated[
    float | None,
    typer.Option(
        min=-1,
        max=1,
        callback=_not_nan,
        metavar="SIMILARITY",
        help="Minimum similarity. The gallery's threshold by default.",
    ),
]
FaceOption = Annotated[
    FaceChoice,
    typer.Option(
        "--faces",
        help="In a photo with several faces: refuse it, take the largest, or the large one nearest the middle.",
    ),
]
UserArgument = Annotated[str, typer.Option("--user", metavar="USER", help="E-mail, id or name of the user.")]


def open_gallery() -> Gallery:
    """Open the gallery. The import is here because it loads NumPy and more, which some commands do not need."""
    from pgface.gallery import Gallery

    return Gallery.open()


def user_ref(text: str) -> UserRef:
    """Read a user from an argument: digits are an id, anything else is an e-mail or a name.

    Raises:
        UnknownUserError: The number is longer than any id.

    """
    if not (text.isascii() and text.isdigit()):
        return text
    digits = text.lstrip("0") or "0"
    if len(digits) > _MAX_ID_DIGITS:  # int() refuses numbers of several thousand digits
        shown = text if len(text) <= 20 else f"{text[:20]}..."
        raise UnknownUserError(f"There is no user with the id {shown}. `pgface users list` lists the users.")
    return int(digits)


@app.command()
def init(
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Name or folder of the model for a new gallery. PGFACE_MODEL by default."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Create the gallery or upgrade it, and bind it to its model."""
    from pgface.gallery import Gallery

    with Gallery.create(model=model) as gallery:
        status = gallery.status()
    if json:
        print_json(status.to_json())
        return
    where = "the embedded PostgreSQL" if status.embedded else "PostgreSQL"
    say(
        f"The gallery in schema {status.schema} of {where} {status.postgresql} is ready: model {status.model}, "
        f"{counted(status.users, 'user')}, {counted(status.embeddings, 'embedding')}."
    )


@app.command()
def enroll(
    photos: Annotated[list[Path] | None, typer.Argument(metavar="PHOTO", help="Photos of the user.")] = None,
    user: Annotated[
        list[str] | None,
        typer.Option(
            "--user",
            metavar="USER",
            help="E-mail, id or name of the user. A new e-mail adds a user. With --faces all, give one for each face.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of a new user. The part before the @ by default.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(parser=_folder, metavar="FOLDER", help="Enroll a folder of people: FOLDER/<person>/<photo>."),
    ] = None,
    faces: Annotated[
        Literal["only", "largest", "central", "all"],
        typer.Option(
            help="In a photo with several faces: refuse it unless the others are small, take the largest, take the "
            "large one nearest the middle, or take all from left to right."
        ),
    ] = "only",
    allow_other_user: Annotated[
        bool, typer.Option("--allow-other-user", help="Enroll a face even if it already belongs to another user.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the outcome of each photo of a folder to a CSV file. It holds names and e-mails.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Enroll photos of a user, or a folder of people."""
    if (folder is None) == (not photos):
        raise typer.BadParameter("give photos and --user, or --folder")
    if folder is not None:
        if user or name or faces == "all":
            raise typer.BadParameter("--folder takes people from its subfolders' names and one face from each photo")
        from pgface.cli.folder import enroll_folder

        enroll_folder(folder, faces, allow_other_user, report, json)
        return
    if not user or (len(user) > 1 and faces != "all"):
        raise typer.BadParameter("give one --user, or one for each face with --faces all")
    if name is not None and faces == "all":
        raise typer.BadParameter("--name is for one new user. With --faces all, add the users first")
    _enroll_photos(photos or [], [user_ref(u) for u in user], name, faces, allow_other_user, json)


def _enroll_photos(
    photos: list[Path],
    users: list[UserRef],
    name: str | None,
    faces: FaceChoice | Literal["all"],
    allow_other_user: bool,
    json: bool,
) -> None:
    done: list[Enrollment] = []
    failed: list[dict[str, Any]] = []
    with open_gallery() as gallery:
        for photo in photos:
            try:
                if faces == "all":
                    enrolled = gallery.enroll_all(photo, users, allow_other_user=allow_other_user)
                else:
                    enrolled = [
                        gallery.enroll(photo, users[0], name=name, face=faces, allow_other_user=allow_other_user)
                    ]
            except _PHOTO_ERRORS as error:
                failed.append(_failure(photo, error))
            else:
                done += (replace(enrollment, photo=str(photo)) for enrollment in enrolled)
    if json:
        print_json({"enrolled": [enrollment.to_json() for enrollment in done], "failed": failed})
    elif done:
        rows = [
            (
                e.photo,
                e.user.name,
                shown_email(e.user.email),
                "enrolled" if e.added else "already enrolled",
                _box(e.face),
            )
            for e in done
        ]
        print_table(("photo", "name", "e-mail", "outcome", "box"), rows, empty="")
        from pgface.faces.choice import face_sizes

        for enrollment in done:
            if enrollment.left_aside:
                say(f"{enrollment.photo}: left aside in the background: {face_sizes(enrollment.left_aside)} pixels.")
    _end(failed)


@app.command()
def identify(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO", help="Photos with one face or many.")],
    threshold: ThresholdOption = None,
    top: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Maximum number of people for each face.")] = 1,
    annotate_to: Annotated[
        Path | None,
        typer.Option(
            "--annotate", metavar="FILE", callback=_image_file, help="Write the photo with boxes and names to a file."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say who is in a photo (1:N)."""
    answers: list[Identification] = []
    legends: dict[str, tuple[str, ...]] = {}
    failed: list[dict[str, Any]] = []
    with open_gallery() as gallery:
        for number, photo in enumerate(photos, start=1):
            try:
                answer = gallery.identify(photo, threshold=threshold, top=top)
                answers.append(replace(answer, photo=str(photo)))
                if annotate_to is not None:
                    legends[str(photo)] = _annotate(photo, answer, _numbered(annotate_to, number, len(photos)))
            except StorageError as error:
                failed.append(_failure(photo, error))
                annotate_to = None  # the next picture would fail too, but the answers are still useful
            except _PHOTO_ERRORS as error:
                failed.append(_failure(photo, error))
        config = gallery.config
    if json:
        used = config.identify_threshold if threshold is None else threshold
        output = {"model": config.model_name, "threshold": used, "photos": [a.to_json() for a in answers]}
        print_json(output | ({"failed": failed} if failed else {}))
    elif answers:
        _print_identifications(answers)
        for name, legend in legends.items():
            if legend:
                say(f"On the picture of {name}: {', '.join(legend)}.")
    _end(failed)


def _print_identifications(answers: list[Identification]) -> None:
    rows: list[tuple[object, ...]] = []
    for answer in answers:
        if not answer.faces:
            rows.append((answer.photo, "no face", "", "", "", "", ""))
        for face in answer.faces:
            score = f"{face.face.detection_score:.2f}"
            if not face.matches:
                rows.append((answer.photo, _box(face.face), score, "unknown", "", "", ""))
            for match in face.matches:
                similar = f"{match.similarity:.3f}", _of_100(match.confidence)
                rows.append((answer.photo, _box(face.face), score, match.name, shown_email(match.email), *similar))
    print_table(("photo", "box", "score", "name", "e-mail", "similarity", "confidence"), rows, empty="")
    say(f"Model {answers[0].model}, threshold {answers[0].threshold:.3f}.")


@app.command()
def verify(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The probe photo.")],
    user: UserArgument,
    threshold: ThresholdOption = None,
    faces: FaceOption = "only",
    json: JsonOption = False,
) -> None:
    """Say whether the person in a photo is this user (1:1)."""
    with open_gallery() as gallery:
        answer = gallery.verify(photo, user_ref(user), threshold=threshold, face=faces)
    if json:
        print_json(answer.to_json())
        return
    verdict = "is" if answer.match else "is not"
    say(f"This {verdict} {full_name(answer.name, answer.email)}: {_measured(answer)}.")


@app.command()
def compare(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="One photo.")],
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="The other photo.")],
    threshold: ThresholdOption = None,
    faces: FaceOption = "only",
    json: JsonOption = False,
) -> None:
    """Say whether two photos show the same person (1:1)."""
    with open_gallery() as gallery:
        answer = gallery.compare(photo, other, threshold=threshold, face=faces)
    if json:
        print_json(answer.to_json())
        return
    verdict = "the same person" if answer.match else "different people"
    say(f"These are {verdict}: {_measured(answer)}.")


@app.command()
def status(json: JsonOption = False) -> None:
    """Show the gallery, its model and its server."""
    from pgface.database.pool import Database
    from pgface.gallery.model import GalleryModel
    from pgface.gallery.status import read_status

    settings = get_settings()
    with Database.open(settings) as database:
        model = GalleryModel(settings, database)
        found = read_status(database, settings, model)
    if json:
        print_json(found.to_json())
        return
    print_facts(_status_facts(found))


def _status_facts(found: Status) -> Iterator[tuple[str, object]]:
    where = "embedded" if found.embedded else "your own (PGFACE_DATABASE_URL)"
    yield "model", found.model or "none yet: run `pgface init`"
    if found.model_problem:
        yield "", f"cannot be used here: {found.model_problem}"
    elif found.model:
        yield "runs on", found.execution_provider
        yield "weights (SHA-256)", found.weights_sha256
    if found.detector_size:
        yield "detector's input", f"{found.detector_size} × {found.detector_size} pixels"
    yield "people", f"{found.users:,}"
    yield "photos", f"{found.photos:,}"
    yield "embeddings", f"{found.embeddings:,}"
    yield "threshold to verify (1:1)", f"{found.verify_threshold:.3f}"
    yield "threshold to identify (1:N)", f"{found.identify_threshold:.3f}"
    if found.calibration_due:
        yield (
            "",
            f"too low for this many people: {found.advised_identify_threshold:.3f} is advised, run `pgface calibrate`",
        )
    yield "search", _search(found)
    if found.search_stale_users:
        yield "", f"{counted(found.search_stale_users, 'user waits', 'users wait')} to be added to the index"
    if found.search_fitting:
        yield "", "being fitted to the gallery now"
    elif found.search_due:
        yield "", "much of the gallery has changed: run `pgface fit-search`"
    yield "index for SQL", found.index or "none"
    yield "server", f"PostgreSQL {found.postgresql} with pgvector {found.pgvector}, {where}"
    yield "schema", f"{found.schema}, version {found.schema_version}"
    yield "data folder", found.data_dir


def _search(found: Status) -> str:
    if found.search == "exact":
        return "exact: compares with every embedding"
    agreement = "" if found.search_agreement is None else f", agrees with exact search for {found.search_agreement:.2%}"
    return f"{found.search}{agreement}"


@app.command()
def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file instead of stdout.")
    ] = None,
) -> None:
    """Print the gallery's whole schema as SQL, for `psql -v ON_ERROR_STOP=1 -f`."""
    if output is None:
        typer.echo(init_sql(), nl=False)
        return
    try:
        output.write_text(init_sql(), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{output}: it cannot be written ({error.strerror}).") from error


def _measured(answer: Verification | Comparison) -> str:
    confidence = "" if answer.confidence is None else f" (confidence {_of_100(answer.confidence)} of 100)"
    return f"similarity {answer.similarity:.3f}{confidence}, threshold {answer.threshold:.3f}"


def _of_100(confidence: float | None) -> str:
    # Rounded down: 90 is shown only for what at most one pair of strangers in 10,000 reaches, and 100 never.
    return "" if confidence is None else f"{math.floor(confidence)}"


def _annotate(photo: Path, answer: Identification, file: Path) -> tuple[str, ...]:
    """Write the picture, and return the labels that did not fit into it."""
    from pgface.faces.annotate import annotate
    from pgface.faces.photo import PhotoLimits, open_photo

    with open_photo(photo, PhotoLimits.from_settings(get_settings())) as opened:
        annotated = annotate(opened.pixels, answer)
    try:
        annotated.image.save(file)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise StorageError(f"{file}: the picture cannot be written ({reason}). Give a writable file.") from error
    return annotated.legend


def _numbered(file: Path, number: int, count: int) -> Path:
    return file if count == 1 else file.with_stem(f"{file.stem}-{number}")


def _box(face: Any) -> str:
    return "" if face is None else "{:.0f},{:.0f} {:.0f}×{:.0f}".format(*face.box)


def _failure(photo: Path, error: PgfaceError) -> dict[str, Any]:
    return {"photo": str(photo), "error": type(error).__name__, "message": as_given(str(photo), str(error))}


def _end(failed: list[dict[str, Any]]) -> None:
    for failure in failed:
        print_error(failure["message"])
    if failed:
        raise typer.Exit(1)
