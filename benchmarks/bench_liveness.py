"""Measure how well pgface tells heads from flat and bent pictures of heads, and how long that takes.

Photos (`<folder>/<person>/<photo>`) are made into attacks and into heads that turn. Clips of real people who turn their
heads come from a folder of yours. Half of the people and half of the clips are for finding limits, and the table shows
the other half, with pgface's limits. The camera is simulated. Real prints in front of real cameras are not measured.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from liveness.attacks import KINDS, MAX_YAW, Angles, Kind, detect
from liveness.clips import SUFFIXES, Turn, turns_of
from liveness.logins import LoginGallery, try_kinds, try_mixed
from liveness.scenes import Photo
from pgface.errors import LivenessError
from pgface.faces.engines import load_engine
from pgface.faces.engines.base import Detection, Engine
from pgface.faces.liveness.head_turns import MIN_TURN_ANGLE
from pgface.faces.liveness.motion import (
    MIN_RELIEF,
    MIN_RESIDUAL,
    FaceMotion,
    FaceTrack,
    Side,
    face_patch,
    require_head,
)
from samples import SHARED, insightface_weights

YAWS = tuple(MAX_YAW * number / 10 for number in range(11))
"""The poses of a turn, one for each frame."""
FRONTAL = 12.0
"""The maximum yaw in degrees of a photo for an attack."""
SIDES: tuple[tuple[Side, int], ...] = (("left", 1), ("right", -1))


@dataclass(frozen=True, slots=True)
class Login:
    """The measurements of a turn to each side."""

    kind: str
    head: bool
    for_fit: bool
    motions: tuple[FaceMotion, ...]
    turned: float
    """The detected yaw of the smaller turn in degrees."""

    @property
    def residual(self) -> float:
        """The smaller value of both sides."""
        return min(motion.homography_residual for motion in self.motions)

    @property
    def relief(self) -> float:
        """The mean of both sides."""
        return float(np.mean([motion.relief for motion in self.motions]))

    @property
    def admitted(self) -> bool:
        """Whether pgface admits it as a head."""
        try:
            require_head(self.motions)
        except LivenessError:
            return False
        return True


FIGURES: tuple[tuple[str, Callable[[Login], float], float], ...] = (
    ("H", lambda login: login.residual, MIN_RESIDUAL),
    ("R", lambda login: login.relief, MIN_RELIEF),
)
"""The homography residual and the relief, each with its limit."""


def photos_of(folder: Path, engine: Engine) -> dict[str, list[Photo]]:
    """Find photos with one face, by person."""
    found = defaultdict(list)
    for file in sorted(folder.glob("*/*")):
        pixels = np.asarray(Image.open(file).convert("RGB"))
        face = detect(engine, pixels)
        if face is not None:
            found[file.parent.name].append(Photo(pixels, face.landmarks, file.parent.name))
    return found


def logins(kind: Kind, engine: Engine, photos: dict[str, list[Photo]], count: int) -> Iterable[Login]:
    """Try an attack several times, with another photo each time."""
    random = np.random.default_rng(sum(map(ord, kind.name)))
    people = sorted(photos)
    for number in range(count):
        person = people[number % len(people)]
        photo = _frontal(engine, photos[person], random)
        frames_for = kind.make(photo, photos[person], engine, random)
        measured = [_turn(engine, frames_for([Angles(sign * yaw) for yaw in YAWS]), side) for side, sign in SIDES]
        motions = [motion for motion, _ in measured if motion is not None]
        if len(motions) == len(SIDES):
            turned = min(yaw for _, yaw in measured)
            yield Login(kind.name, kind.head, people.index(person) % 2 == 0, tuple(motions), turned)


def _frontal(engine: Engine, photos: Sequence[Photo], random: np.random.Generator) -> Photo:
    for index in random.permutation(len(photos)).tolist():
        photo: Photo = photos[index]
        face = detect(engine, photo.pixels)
        if face and abs(face.quality.yaw) < FRONTAL:
            return photo
    return photos[0]


def _turn(engine: Engine, frames: Sequence[NDArray[np.uint8]], side: Side) -> tuple[FaceMotion | None, float]:
    """Measure the motion up to the most turned frame with a face, and the yaw of that frame."""
    sign = 1 if side == "left" else -1
    faces = []
    for frame in frames:
        face = detect(engine, frame)
        if face is None:
            break
        faces.append(face)
    if len(faces) < 2:
        return None, 0.0
    yaws = np.array([sign * (face.quality.yaw - faces[0].quality.yaw) for face in faces])
    end = max(1, int(yaws.argmax()))
    try:
        return _followed([face_patch(face) for face in faces[: end + 1]], side), float(yaws[end])
    except LivenessError:
        return None, 0.0


def _followed(patches: Sequence[NDArray[np.uint8]], side: Side) -> FaceMotion:
    track = FaceTrack.start(patches[0])
    for patch in patches[1:]:
        track.follow(patch)
    return track.motion(side)


def real_logins(turns: Sequence[Turn], least: float, fit_clips: set[str]) -> Iterable[Login]:
    """Give pairs of turns to the left and to the right in one clip."""
    by_clip: dict[str, dict[Side, list[Turn]]] = defaultdict(lambda: {"left": [], "right": []})
    for turn in turns:
        if turn.yaw >= least:
            by_clip[turn.clip][turn.side].append(turn)
    for clip, sides in by_clip.items():
        for left, right in zip(sides["left"], sides["right"], strict=False):
            motions = tuple(_followed(turn.patches, turn.side) for turn in (left, right))
            kind = f"real heads, {least:.0f}° or more"
            yield Login(kind, True, clip in fit_clips, motions, min(left.yaw, right.yaw))


def real_turns(folder: Path | None, engine: Engine, console: Console) -> list[Turn]:
    """Give all turns of all clips."""
    if folder is None:
        console.print("Skipped: real heads. Give a folder of clips with --clips.")
        return []
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    return list(chain.from_iterable(turns_of(file, engine, 12.0) for file in files))


def table_of(results: Sequence[Login], title: str) -> Table:
    """Give one row for each kind."""
    columns = [column for name, *_ in FIGURES for column in (f"{name}: 5 / 50 / 95 %", f"by {name}")]
    table = Table("kind", "logins", "turned", *columns, "by all", "and turned", title=title)
    for kind in dict.fromkeys(login.kind for login in results):
        of_kind = [login for login in results if login.kind == kind]
        cells = []
        for _, figure, least in FIGURES:
            values = np.array([figure(login) for login in of_kind])
            cells += [_percentiles(values), str(int((values >= least).sum()))]
        admitted = [login for login in of_kind if login.admitted]
        turned = sum(login.turned >= MIN_TURN_ANGLE for login in admitted)
        degrees = f"{np.median([login.turned for login in of_kind]):.0f}°"
        table.add_row(kind, str(len(of_kind)), degrees, *cells, str(len(admitted)), str(turned))
    return table


def _percentiles(values: NDArray[np.float64]) -> str:
    known = values[np.isfinite(values)]
    return " / ".join(f"{value:.3f}" for value in np.percentile(known, [5, 50, 95])) if known.size else "-"


def proposed_limits(results: Sequence[Login]) -> str:
    """Find the range for each limit, from the half of the data for this."""
    fit = [login for login in results if login.for_fit]
    real = [login for login in fit if login.kind.startswith("real")]
    heads = real or [login for login in fit if login.kind == "heads of other shapes"]
    flat = [login for login in fit if login.kind.startswith("flat")]
    bent = [login for login in fit if "can" in login.kind or login.kind.startswith("bent")]
    return "; ".join(
        f"{name}: attacks at most {np.nanmax([figure(login) for login in attacks]):.3f}, "
        f"heads from {np.nanmin([figure(login) for login in heads]):.3f} on"
        for (name, figure, _), attacks in zip(FIGURES, (flat, bent), strict=True)
        if attacks
    )


def cost(engine: Engine, photos: dict[str, list[Photo]]) -> str:
    """Compare a frame and a turn with the detection of the same frames, in processor time."""
    kind = next(kind for kind in KINDS if kind.name == "heads of other shapes")
    photo = next(iter(photos.values()))[0]
    frames = kind.make(photo, [photo], engine, np.random.default_rng(1))([Angles(yaw) for yaw in YAWS])
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(3):
        track = FaceTrack.start(face_patch(_timed(seconds["detection"], partial(_found, engine, frames[0]))))
        for picture in frames[1:]:
            face = _timed(seconds["detection"], partial(_found, engine, picture))
            _timed(seconds["frame"], partial(_follow, track, face))
        _timed(seconds["turn"], partial(track.motion, "left"))
    detection, frame, turn = (1000 * float(np.median(seconds[name])) for name in ("detection", "frame", "turn"))
    return (
        f"Detection takes {detection:.1f} ms a frame. Following takes {frame:.1f} ms ({frame / detection:.2f} times "
        f"as long), and a turn {turn:.1f} ms more ({turn / detection:.2f} times); "
        f"{len(track.to_bytes())} bytes are kept between two requests."
    )


T = TypeVar("T")


def _timed(seconds: list[float], work: Callable[[], T]) -> T:
    begin = time.thread_time()
    result = work()
    seconds.append(time.thread_time() - begin)
    return result


def _follow(track: FaceTrack, face: Detection) -> None:
    track.follow(face_patch(face))


def _found(engine: Engine, picture: NDArray[np.uint8]) -> Detection:
    face = detect(engine, picture)
    assert face is not None, "a head was drawn"
    return face


def engines() -> dict[str, Engine]:
    """Load the installed engines."""
    load = partial(load_engine, models_dir=Path(), execution_provider="CPU")
    found = {name: load(name, detector_size=640) for name in ("sface", "dlib")}
    weights = insightface_weights()
    if weights is not None:
        found["insightface"] = load(str(weights), detector_size=320)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, default=SHARED / "data" / "faces")
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--count", type=int, default=50, help="logins of each kind")
    parser.add_argument("--logins", type=int, default=50, help="whole logins of each kind, 0 for none")
    parser.add_argument("--kind", action="append", help="only whole logins of this kind (can be repeated)")
    parser.add_argument("--engine", choices=["sface", "dlib", "insightface"], action="append")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    console = Console(width=170)
    for name, engine in engines().items():
        if arguments.engine and name not in arguments.engine:
            continue
        if arguments.count:
            measure(name, engine, arguments, console)
        if arguments.logins:
            measure_logins(name, engine, arguments, console)


def measure(name: str, engine: Engine, arguments: argparse.Namespace, console: Console) -> None:
    """Measure everything with one engine."""
    photos = photos_of(cast(Path, arguments.photos), engine)
    turns = real_turns(arguments.clips, engine, console)
    clips = sorted({turn.clip for turn in turns})
    results = [login for least in (12.0, MIN_TURN_ANGLE) for login in real_logins(turns, least, set(clips[::2]))]
    for kind in KINDS:
        tried = list(logins(kind, engine, photos, arguments.count))
        results += tried
        progress = f"{kind.name}: {sum(login.admitted for login in tried)} of {len(tried)} admitted"
        console.print(progress, "by geometry")
    console.print(f"{name}: {sum(map(len, photos.values()))} photos, {len(clips)} clips with {len(turns)} turns.")
    console.print(f"Half for the limits: {proposed_limits(results)}")
    console.print(f"Limits in use: H {MIN_RESIDUAL}, R {MIN_RELIEF}")
    console.print(table_of([login for login in results if not login.for_fit], f"{name}: the other half"))
    console.print(table_of(results, f"{name}: both halves"))
    console.print(cost(engine, photos))


def measure_logins(name: str, engine: Engine, arguments: argparse.Namespace, console: Console) -> None:
    """Log in through all layers, except the limits on attempts and a network."""
    photos = photos_of(cast(Path, arguments.photos), engine)
    kinds = [kind for kind in KINDS if not arguments.kind or kind.name in arguments.kind]
    model = str(insightface_weights()) if name == "insightface" else name
    table = Table("what is held up", "admitted", "refused because", title=f"{name}: whole logins")
    with (
        tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder,
        LoginGallery.opened(Path(folder) / "data", model, photos) as gallery,
    ):
        for tried in chain(try_kinds(gallery, kinds, engine, arguments.logins), [try_mixed(gallery, arguments.logins)]):
            table.add_row(*tried.row)
            console.print(": ".join(tried.row))
    console.print(table)


if __name__ == "__main__":
    main()
