"""`pgface identify`, `pgface verify` and `pgface compare`."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgface.cli.failures import PHOTO_ERRORS, exit_if_any, failure
from pgface.cli.gallery import open_gallery
from pgface.cli.options import (
    FaceOption,
    JsonOption,
    ThresholdOption,
    UserOption,
    WithLabelsOption,
    file_ending_in,
    user_ref,
)
from pgface.cli.output import box_text, print_json, print_result, print_table, say
from pgface.errors import StorageError
from pgface.gallery.users import full_name, shown_email
from pgface.settings import get_settings

if TYPE_CHECKING:
    from pgface.results import Comparison, Identification, Verification

app = typer.Typer()

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")


@app.command()
def identify(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO", help="Photos with one face or many.")],
    threshold: ThresholdOption = None,
    top: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Maximum number of people for each face.")] = 1,
    labels: WithLabelsOption = None,
    annotate_to: Annotated[
        Path | None,
        typer.Option(
            "--annotate",
            metavar="FILE",
            callback=file_ending_in(_IMAGE_SUFFIXES),
            help="Write the photo with boxes and names to a file.",
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
                answer = gallery.identify(photo, threshold=threshold, top=top, labels=labels or ())
                answers.append(replace(answer, photo=str(photo)))
                if annotate_to is not None:
                    legends[str(photo)] = _annotate(photo, answer, _numbered(annotate_to, number, len(photos)))
            except StorageError as error:
                failed.append(failure(photo, error))
                annotate_to = None  # the next picture would fail too, but the answers are still useful
            except PHOTO_ERRORS as error:
                failed.append(failure(photo, error))
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
    exit_if_any(failed)


def _print_identifications(answers: list[Identification]) -> None:
    rows: list[tuple[object, ...]] = []
    for answer in answers:
        if not answer.faces:
            rows.append((answer.photo, "no face", "", "", "", "", ""))
        for face in answer.faces:
            score = f"{face.face.detection_score:.2f}"
            if not face.matches:
                rows.append((answer.photo, box_text(face.face), score, "unknown", "", "", ""))
            for match in face.matches:
                similar = f"{match.similarity:.3f}", _of_100(match.confidence)
                rows.append((answer.photo, box_text(face.face), score, match.name, shown_email(match.email), *similar))
    print_table(("photo", "box", "score", "name", "e-mail", "similarity", "confidence"), rows, empty="")
    say(f"Model {answers[0].model}, threshold {answers[0].threshold:.3f}.")


@app.command()
def verify(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The probe photo.")],
    user: UserOption,
    threshold: ThresholdOption = None,
    faces: FaceOption = "only",
    json: JsonOption = False,
) -> None:
    """Say whether the person in a photo is this user (1:1)."""
    with open_gallery() as gallery:
        answer = gallery.verify(photo, user_ref(user), threshold=threshold, face=faces)
    verdict = "is" if answer.match else "is not"
    sentence = f"This {verdict} {full_name(answer.name, answer.email)}: {_measured(answer)}."
    print_result(answer.to_json(), sentence, json)


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
    verdict = "the same person" if answer.match else "different people"
    print_result(answer.to_json(), f"These are {verdict}: {_measured(answer)}.", json)


def _measured(answer: Verification | Comparison) -> str:
    confidence = "" if answer.confidence is None else f" (confidence {_of_100(answer.confidence)} of 100)"
    return f"similarity {answer.similarity:.3f}{confidence}, threshold {answer.threshold:.3f}"


def _of_100(confidence: float | None) -> str:
    # Rounded down: 90 is shown only for what at most one pair of strangers in 10,000 reaches, and 100 never.
    return "" if confidence is None else f"{math.floor(confidence)}"


def _annotate(photo: Path, answer: Identification, file: Path) -> tuple[str, ...]:
    """Write the annotated photo, and return the labels that did not fit into it."""
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
