"""Compare models on a folder of people: error rates, processor time, and faces that are hard to find."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from pgface.faces.engines import load_engine
from pgface.faces.engines.base import Engine, Face
from pgface.faces.face_choice import ChosenFace
from pgface.faces.pixels import RGBImage
from pgface.operations.bench.facts import machine
from pgface.settings import Settings

FMRS = (1e-2, 1e-3)
Change = Callable[[RGBImage, Face], RGBImage]
"""Makes a photo hard to search. It gets the photo and its face."""


@dataclass(frozen=True)
class Photo:
    person: str
    pixels: RGBImage


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER", help="one folder for each person")
    parser.add_argument("--models", nargs="+", default=["sface", "dlib"], help="names or folders (sface dlib)")
    arguments = parser.parse_args()
    photos = read_photos(arguments.photos)
    table = Table(title=f"{len(photos)} photos of {len({photo.person for photo in photos})} people")
    for column in ("model", "no face", *(f"FNMR at FMR {rate:g}" for rate in FMRS), "processor ms", *CHANGES):
        table.add_column(column, justify="left" if column == "model" else "right")
    for model in arguments.models:
        table.add_row(Path(model).name, *measured(engine_of(model), photos))
    console = Console(highlight=False, width=200)
    console.print(table)
    console.print("Hard photos: faces found / similar to the whole photo above the threshold at FMR 1e-3, in percent.")
    console.print(", ".join(f"{name} {value}" for name, value in machine().items()), soft_wrap=True)


def read_photos(folder: Path) -> list[Photo]:
    files = sorted(file for file in folder.glob("*/*") if file.suffix.lower() in {".jpg", ".jpeg", ".png"})
    return [Photo(file.parent.name, np.asarray(Image.open(file).convert("RGB"))) for file in files]


def engine_of(model: str) -> Engine:
    settings = Settings()
    return load_engine(
        model,
        models_dir=settings.models_dir,
        detector_size=settings.detector_size,
        execution_provider=settings.execution_provider,
    )


def measured(engine: Engine, photos: Sequence[Photo]) -> list[str]:
    """Return the cells of a model's row."""
    engine.detect_and_embed(photos[0].pixels)  # so that nothing is loaded while the time is measured
    begin = time.process_time()
    found = [central(engine, photo.pixels) for photo in photos]
    milliseconds = (time.process_time() - begin) / len(photos) * 1000
    known = [(photo, face) for photo, face in zip(photos, found, strict=True) if face is not None]
    missed = len(photos) - len(known)
    mated, non_mated = similarities(known)
    thresholds = [threshold_of(non_mated, rate) for rate in FMRS]
    rates = [f"{100 * np.mean(mated <= threshold):.2f} %" for threshold in thresholds]
    hard = [hard_photos(engine, known, change, thresholds[-1]) for change in CHANGES.values()]
    return [str(missed), *rates, f"{milliseconds:.0f}", *hard]


def central(engine: Engine, pixels: RGBImage) -> Face | None:
    faces = engine.detect_and_embed(pixels, lambda found: ChosenFace("photo", "central")(found) if found else found)
    return faces[0] if faces else None


def similarities(known: Sequence[tuple[Photo, Face]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the similarities of all mated and all non-mated pairs."""
    embeddings = np.array([face.embedding for _, face in known])
    people = np.array([photo.person for photo, _ in known])
    one, other = np.triu_indices(len(known), 1)
    pairs, mated = (embeddings @ embeddings.T)[one, other], people[one] == people[other]
    return pairs[mated], pairs[~mated]


def threshold_of(non_mated: NDArray[np.float32], fmr: float) -> float:
    """Return the similarity that this share of the non-mated pairs exceeds."""
    return float(np.sort(non_mated)[::-1][int(fmr * len(non_mated))])


def hard_photos(engine: Engine, known: Sequence[tuple[Photo, Face]], change: Change, threshold: float) -> str:
    found = recognised = 0
    for photo, face in known:
        again = central(engine, change(photo.pixels, face))
        if again is not None:
            found += 1
            recognised += float(again.embedding @ face.embedding) > threshold
    return f"{100 * found / len(known):.0f} / {100 * recognised / len(known):.0f}"


def close_up(margin: float) -> Change:
    """Cut the photo to `margin` times the box of the face."""

    def cut(pixels: RGBImage, face: Face) -> RGBImage:
        x, y, width, height = face.box
        top, bottom = y + height * (1 - margin) / 2, y + height * (1 + margin) / 2
        left, right = x + width * (1 - margin) / 2, x + width * (1 + margin) / 2
        return pixels[max(0, round(top)) : round(bottom), max(0, round(left)) : round(right)]

    return cut


def turned(quarter_turns: int) -> Change:
    return lambda pixels, _: np.rot90(pixels, quarter_turns)


def tiny(side: int) -> Change:
    """Reduce the photo until the longer side of the face has this many pixels."""

    def reduce(pixels: RGBImage, face: Face) -> RGBImage:
        scale = side / max(face.box.width, face.box.height)
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
