"""`pgface init|enroll|identify|verify|compare|status|schema`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from pgface.annotate import annotate
from pgface.cli.output import (
    JsonOption,
    errors,
    print_error,
    print_facts,
    print_json,
    print_table,
    say,
)
from pgface.errors import PgfaceError, StorageError
from pgface.faces.image import PhotoLimits, open_photo
from pgface.folder import FolderReport
from pgface.gallery import Gallery
from pgface.people import UserRef
from pgface.results import Enrollment, Identification
from pgface.schema import init_sql
from pgface.settings import get_settings

app = typer.Typer()


class WhichFaces(StrEnum):
    """Which faces of a photo with several are meant."""

    ONLY = "only"
    LARGEST = "largest"
    ALL = "all"


class WhichFaceOption(StrEnum):
    """Which face of a photo with several is meant."""

    ONLY = "only"
    LARGEST = "largest"

    @property
    def literal(self) -> Literal["only", "largest"]:
        """As the library names it."""
        return "only" if self is WhichFaceOption.ONLY else "largest"


ThresholdOption = Annotated[
    float | None, typer.Option(min=-1, max=1, help="Least similarity; the gallery's own if not given.")
]
FaceOption = Annotated[
    WhichFaceOption, typer.Option("--faces", help="In a photo with several faces: refuse, or take the largest.")
]
UserArgument = Annotated[str, typer.Option("--user", help="E-mail or id of the user.")]


def user_ref(text: str) -> UserRef:
    """A user as the command line names one: digits are an id, anything else is an e-mail."""
    return int(text) if text.isascii() and text.isdigit() else text


@app.command()
def init(
    model: Annotated[
        str | None, typer.Option(help="Model to bind a new gallery to: a name or a folder; PGFACE_MODEL if not given.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Create the gallery or bring it up to date, and bind it to its model."""
    with Gallery.create(model=model) as gallery:
        status = gallery.status()
    if json:
        print_json(status.to_json())
        return
    where = "the embedded PostgreSQL" if status.embedded else "PostgreSQL"
    say(
        f"The gallery in schema {status.schema} of {where} {status.postgresql} is ready: model {status.model}, "
        f"{status.users} users, {status.embeddings} embeddings."
    )


@app.command()
def enroll(
    photos: Annotated[list[Path] | None, typer.Argument(help="Photos of the user.")] = None,
    user: Annotated[
        list[str] | None,
        typer.Option("--user", help="E-mail of the user, added if new, or id. With --faces all, one for each face."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of a new user; the e-mail's first part if not given.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Enroll FOLDER/<person>/<photo>.")] = None,
    faces: Annotated[
        WhichFaces,
        typer.Option(help="In a photo with several faces: refuse, take the largest, or all, from left to right."),
    ] = WhichFaces.ONLY,
    allow_other_user: Annotated[
        bool, typer.Option("--allow-other-user", help="Enroll a face also if it already belongs to another user.")
    ] = False,
    report: Annotated[Path | None, typer.Option(help="Where to write what became of each photo of a folder.")] = None,
    json: JsonOption = False,
) -> None:
    """Enroll photos of a user, or a folder of people."""
    if (folder is None) == (not photos):
        raise typer.BadParameter("give photos and --user, or --folder")
    if folder is not None:
        if user or name or faces is WhichFaces.ALL:
            raise typer.BadParameter("--folder takes the people from its folders' names, and one face of each photo")
        face: Literal["only", "largest"] = "only" if faces is WhichFaces.ONLY else "largest"
        _enroll_folder(folder, face, allow_other_user, report, json)
        return
    if not user or (len(user) > 1 and faces is not WhichFaces.ALL):
        raise typer.BadParameter("give one --user, or with --faces all one for each face")
    if name is not None and faces is WhichFaces.ALL:
        raise typer.BadParameter("--name is for one new user; with --faces all add the users first")
    _enroll_photos(photos or [], [user_ref(u) for u in user], name, faces, allow_other_user, json)


def _enroll_photos(
    photos: list[Path], users: list[UserRef], name: str | None, faces: WhichFaces, allow_other_user: bool, json: bool
) -> None:
    done: list[Enrollment] = []
    failed: list[dict[str, Any]] = []
    with Gallery.open() as gallery:
        for photo in photos:
            try:
                if faces is WhichFaces.ALL:
                    done += gallery.enroll_all(photo, users, allow_other_user=allow_other_user)
                else:
                    face: Literal["only", "largest"] = "only" if faces is WhichFaces.ONLY else "largest"
                    done.append(
                        gallery.enroll(photo, users[0], name=name, face=face, allow_other_user=allow_other_user)
                    )
            except PgfaceError as error:
                failed.append(_failure(photo, error))
    if json:
        print_json({"enrolled": [enrollment.to_json() for enrollment in done], "failed": failed})
    elif done:
        rows = [
            (e.photo, e.user.name, e.user.email, "enrolled" if e.added else "already enrolled", _box(e.face))
            for e in done
        ]
        print_table(("photo", "name", "e-mail", "outcome", "box"), rows, empty="")
    _end(failed)


def _enroll_folder(
    folder: Path, face: Literal["only", "largest"], allow_other_user: bool, report_file: Path | None, json: bool
) -> None:
    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Gallery.open() as gallery, Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("", total=None, rate="")

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)
            speed = progress.tasks[task].speed
            progress.update(task, rate=f"{speed:.1f} photos/s" if speed else "")

        report = gallery.enroll_folder(folder, face=face, allow_other_user=allow_other_user, on_progress=show)
        file = report_file or gallery.settings.data_dir / "last-enrollment.csv"
    try:
        report.write_csv(file)
    except OSError as error:
        raise StorageError(f"{file}: the report cannot be written ({error.strerror}).") from error
    _print_folder_report(report, file, json)


def _print_folder_report(report: FolderReport, file: Path, json: bool) -> None:
    refused = [photo for photo in report.photos if photo.outcome == "refused"]
    counts = {outcome: report.count(outcome) for outcome in ("enrolled", "already enrolled", "refused")}
    if json:
        print_json(
            {
                "photos": len(report.photos),
                "enrolled": counts["enrolled"],
                "already_enrolled": counts["already enrolled"],
                "refused": [{"photo": p.photo, "error": p.error, "reason": p.reason} for p in refused],
                "seconds": round(report.seconds, 3),
                "report": str(file),
            }
        )
        return
    rate = len(report.photos) / report.seconds if report.seconds else 0
    say(
        f"{len(report.photos)} photos in {report.seconds:.1f} s ({rate:.1f} photos/s): {counts['enrolled']} enrolled, "
        f"{counts['already enrolled']} already enrolled, {counts['refused']} refused."
    )
    for photo in refused[:10]:
        print_error(photo.reason)
    if len(refused) > 10:
        print_error(f"... and {len(refused) - 10} more: {dict(report.reasons())}")
    say(f"What became of each photo: {file}")


@app.command()
def identify(
    photos: Annotated[list[Path], typer.Argument(help="Photos with one face or many.")],
    threshold: ThresholdOption = None,
    top: Annotated[int, typer.Option(min=1, max=1000, help="People to give for each face at most.")] = 1,
    annotate_to: Annotated[
        Path | None, typer.Option("--annotate", help="Write the photo with boxes and names to this file.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say who is in a photo (1:N)."""
    answers: list[Identification] = []
    failed: list[dict[str, Any]] = []
    with Gallery.open() as gallery:
        for number, photo in enumerate(photos, start=1):
            try:
                answer = gallery.identify(photo, threshold=threshold, top=top)
                if annotate_to is not None:
                    _annotate(photo, answer, _numbered(annotate_to, number, len(photos)))
                answers.append(answer)
            except PgfaceError as error:
                failed.append(_failure(photo, error))
        binding = gallery.binding
    if json:
        used = binding.identify_threshold if threshold is None else threshold
        output = {"model": binding.model_name, "threshold": used, "photos": [a.to_json() for a in answers]}
        print_json(output | ({"failed": failed} if failed else {}))
    elif answers:
        _print_identifications(answers)
    _end(failed)


def _print_identifications(answers: list[Identification]) -> None:
    rows = []
    for answer in answers:
        if not answer.faces:
            rows.append((answer.photo, "no face", "", "", "", ""))
        for face in answer.faces:
            score = f"{face.face.detection_score:.2f}"
            if not face.matches:
                rows.append((answer.photo, _box(face.face), score, "unknown", "", ""))
            for match in face.matches:
                row = (answer.photo, _box(face.face), score, match.name, match.email, f"{match.similarity:.3f}")
                rows.append(row)
    print_table(("photo", "box", "score", "name", "e-mail", "similarity"), rows, empty="")
    say(f"Model {answers[0].model}, threshold {answers[0].threshold:.3f}.")


@app.command()
def verify(
    photo: Annotated[Path, typer.Argument(help="The probe.")],
    user: UserArgument,
    threshold: ThresholdOption = None,
    faces: FaceOption = WhichFaceOption.ONLY,
    json: JsonOption = False,
) -> None:
    """Say whether the person in a photo is this user (1:1)."""
    with Gallery.open() as gallery:
        answer = gallery.verify(photo, user_ref(user), threshold=threshold, face=faces.literal)
    if json:
        print_json(answer.to_json())
        return
    verdict = "is" if answer.match else "is not"
    say(
        f"This {verdict} {answer.name} <{answer.email}>: similarity {answer.similarity:.3f}, "
        f"threshold {answer.threshold:.3f}."
    )


@app.command()
def compare(
    photo: Annotated[Path, typer.Argument(help="A photo.")],
    other: Annotated[Path, typer.Argument(help="Another photo.")],
    threshold: ThresholdOption = None,
    faces: FaceOption = WhichFaceOption.ONLY,
    json: JsonOption = False,
) -> None:
    """Say whether two photos show the same person (1:1)."""
    with Gallery.open() as gallery:
        answer = gallery.compare(photo, other, threshold=threshold, face=faces.literal)
    if json:
        print_json(answer.to_json())
        return
    verdict = "the same person" if answer.match else "different people"
    say(f"These are {verdict}: similarity {answer.similarity:.3f}, threshold {answer.threshold:.3f}.")


@app.command()
def status(json: JsonOption = False) -> None:
    """Show the gallery, its model and its server."""
    with Gallery.open() as gallery:
        found = gallery.status().to_json()
    if json:
        print_json(found)
        return
    print_facts((name.replace("_", " "), value) for name, value in found.items())


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to this file.")] = None,
) -> None:
    """Print the gallery's whole schema as SQL, for `psql -v ON_ERROR_STOP=1 -f`."""
    if output is None:
        typer.echo(init_sql(), nl=False)
        return
    try:
        output.write_text(init_sql(), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{output}: it cannot be written ({error.strerror}).") from error


def _annotate(photo: Path, answer: Identification, file: Path) -> None:
    with open_photo(photo, PhotoLimits.from_settings(get_settings())) as opened:
        picture = annotate(opened.pixels, answer)
    try:
        picture.save(file)
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{file}: the picture cannot be written; give a writable file that ends in .png or .jpg."
        ) from error


def _numbered(file: Path, number: int, count: int) -> Path:
    return file if count == 1 else file.with_stem(f"{file.stem}-{number}")


def _box(face: Any) -> str:
    return "" if face is None else "{:.0f},{:.0f} {:.0f}×{:.0f}".format(*face.box)


def _failure(photo: Path, error: PgfaceError) -> dict[str, Any]:
    return {"photo": str(photo), "error": type(error).__name__, "message": str(error)}


def _end(failed: list[dict[str, Any]]) -> None:
    for failure in failed:
        print_error(failure["message"])
    if failed:
        raise typer.Exit(1)
