"""Whole logins by face: what is held to the camera follows the challenge as well as it can."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from liveness.attacks import FARTHEST, Asked, FramesFor, Kind, moved
from liveness.scenes import Photo, flat, head, wall
from pgface.accounts import Challenge, FaceLogin, NewLogin
from pgface.errors import LoginRefusedError, PhotoError
from pgface.faces.engines.base import Engine
from pgface.faces.liveness.head_turns import Pose
from pgface.faces.liveness.relief import DEFAULT_SHAPE
from pgface.faces.pixels import RGBImage
from pgface.faces.quality import head_pose
from pgface.gallery import Gallery
from pgface.settings import Settings

TOGETHER = 5
"""Frames of a request."""
STEP = 5.0
"""Degrees from frame to frame."""
MOST_HELD = 5
"""Photos of each person that are not enrolled."""
PATIENCE = 4
"""Requests in one pose, after which a head turns farther."""
RAISED = 26.0
"""Pitch that is asked for."""
_POSES: dict[Pose, Asked] = {
    "centre": Asked(0),
    "left": Asked(FARTHEST),
    "right": Asked(-FARTHEST),
    "up": Asked(0, RAISED),
}

Look = Callable[[Pose], list[RGBImage]]
"""The next frames of a request, while a pose is asked for."""


class Door:
    """A gallery with all people of the photos enrolled, and a face as the only factor."""

    def __init__(self, gallery: Gallery, photos: dict[str, list[Photo]]) -> None:
        """Enroll each person with some photos, and keep the most frontal ones for the attacks."""
        self._gallery = gallery
        self._login = FaceLogin(gallery)
        self.people = sorted(photos)
        self.to_hold: dict[str, list[Photo]] = {}
        for person, found in photos.items():
            by_yaw = sorted(found, key=lambda photo: abs(head_pose(photo.landmarks)[0]))
            self.to_hold[person] = by_yaw[:MOST_HELD]
            for photo in by_yaw[MOST_HELD:]:
                gallery.enroll(
                    png(photo.pixels), f"{person.lower()}@example.org", face="largest", allow_other_user=True
                )

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, model: str, photos: dict[str, list[Photo]]) -> Iterator[Door]:
        """A gallery of its own, on an embedded PostgreSQL."""
        settings = Settings(
            data_dir=folder,
            database_url=None,
            detector_size=320,
            login_policy="face+liveness",
            liveness="challenge-only",
            min_face_size=0,
            max_yaw=90,
        )
        with Gallery.create(settings, model=model) as gallery:
            yield cls(gallery, photos)

    def try_to_enter(self, person: str, look: Look) -> str | None:
        """Log in as a person; returns the reason of a refusal from the audit log, or None."""
        with self._gallery.database.transaction() as connection:
            connection.execute("DELETE FROM login_attempts")  # how often one may try is another layer's question
        answer: Challenge | NewLogin = self._login.challenge(email=f"{person.lower()}@example.org")
        try:
            while isinstance(answer, Challenge):
                answer = self._login.answer(answer.token, [png(frame) for frame in look(answer.pose)])
        except (LoginRefusedError, PhotoError):
            query = "SELECT reason FROM audit_log ORDER BY coalesce(last_at, at) DESC LIMIT 1"
            with self._gallery.database.transaction() as connection:
                ((reason,),) = connection.execute(query).fetchall()
            return str(reason)
        return None


class Held:
    """Something that goes from pose to pose before the camera. It keeps what the camera saw."""

    def __init__(self, frames_for: FramesFor) -> None:
        self._frames_for = frames_for
        self._at = Asked(0)
        self._asked: list[Pose] = []
        self.taken: list[tuple[Asked, RGBImage]] = []

    def __call__(self, pose: Pose) -> list[RGBImage]:
        """Move towards the pose for the frames of a request; farther, where it is asked for again and again."""
        self._asked = [*self._asked, pose] if self._asked[-1:] == [pose] else [pose]
        farther = 1 + 0.1 * max(0, len(self._asked) - PATIENCE)
        goal = Asked(*(farther * degrees for degrees in _POSES[pose]))
        poses = [self._towards(goal) for _ in range(TOGETHER)]
        frames = self._frames_for(poses)
        self.taken += zip(poses, frames, strict=True)
        return frames

    def _towards(self, goal: Asked) -> Asked:
        way = np.clip(np.subtract(goal, self._at), -STEP, STEP)
        self._at = Asked(*(float(degrees) for degrees in np.add(self._at, way)))
        return self._at


class Recording:
    """Frames of an earlier login, which are sent again in the order that the challenge asks for."""

    def __init__(
        self, taken: Sequence[tuple[Asked, RGBImage]], changed: Callable[[RGBImage], RGBImage], *, in_order: bool
    ) -> None:
        """Load the film.

        Args:
            taken: where the head looked, and what the camera saw.
            changed: what is done to each frame.
            in_order: whether it is shown as it was recorded, whatever is asked for.

        """
        self._taken = list(taken)
        self._changed = changed
        self._in_order = in_order
        self._at = Asked(0)

    def __call__(self, pose: Pose) -> list[RGBImage]:
        """The next frames, each of which is shown once."""
        count = min(TOGETHER, len(self._taken))
        return [self._changed(self._next(_POSES[pose])) for _ in range(count)]

    def _next(self, goal: Asked) -> RGBImage:
        if self._in_order:
            return self._taken.pop(0)[1]
        wanted = np.add(self._at, np.clip(np.subtract(goal, self._at), -STEP, STEP))
        nearest = min(range(len(self._taken)), key=lambda index: np.abs(wanted - self._taken[index][0]).sum())
        self._at, frame = self._taken.pop(nearest)
        return frame


class Mixed:
    """A picture of two people mixed is held up first, and then one of them turns their head for the other."""

    def __init__(self, victim: Photo, attacker: Photo, random: np.random.Generator) -> None:
        """Mix half of each, with the landmarks of one over those of the other."""
        moved_over, _ = cv2.estimateAffinePartial2D(attacker.landmarks, victim.landmarks, method=cv2.LMEDS)
        height, width = victim.pixels.shape[:2]
        own = cv2.warpAffine(attacker.pixels, moved_over, (width, height), borderMode=cv2.BORDER_REFLECT)
        mixed = Photo(np.asarray(cv2.addWeighted(victim.pixels, 0.5, own, 0.5, 0)), victim.landmarks)
        background = wall(3)
        self._still = moved(lambda pose, _: flat(mixed, pose, background), random, 0.3)
        self._live = Held(moved(lambda pose, _: head(attacker, pose, DEFAULT_SHAPE, background), random, 1.0))
        self._first = True

    def __call__(self, pose: Pose) -> list[RGBImage]:
        """The picture until a turn is asked for, and the living head from then on."""
        self._first = self._first and pose == "centre"
        return self._still([Asked(0)] * TOGETHER) if self._first else self._live(pose)


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one kind of logins."""

    kind: str
    head: bool
    """Whether it has the shape of a head."""
    reasons: Counter[str | None]
    """Why they were refused, by the first words; None for those that were admitted."""

    @property
    def row(self) -> tuple[str, ...]:
        """For a table."""
        refused = ", ".join(f"{count} {reason}" for reason, count in self.reasons.most_common() if reason)
        return self.kind, f"{self.reasons[None]} of {self.reasons.total()}", refused


def try_kinds(door: Door, kinds: Sequence[Kind], engine: Engine, count: int) -> Iterator[Tried]:
    """Try to log in so many times with each kind, and then with what the camera saw of heads that got in."""
    films: list[tuple[str, Held]] = []
    for kind in kinds:
        random = np.random.default_rng(sum(map(ord, kind.name)))
        reasons: Counter[str | None] = Counter()
        for number in range(count):
            person = door.people[number % len(door.people)]
            photos = door.to_hold[person]
            held = Held(kind.make(photos[number // len(door.people) % len(photos)], photos, engine, random))
            reason = door.try_to_enter(person, held)
            reasons[_short(reason)] += 1
            if reason is None and kind.head:
                films.append((person, held))
        yield Tried(kind.name, kind.head, reasons)
    films = films[-count:]
    for name, changed, in_order in (
        ("replayed as it was", unchanged, True),
        ("cut and reordered to fit", unchanged, False),
        ("the same, compressed again", compressed_again, False),
    ):
        made = [(person, Recording(held.taken, changed, in_order=in_order)) for person, held in films]
        yield Tried(name, False, Counter(_short(door.try_to_enter(person, film)) for person, film in made))


def try_mixed(door: Door, pairs: int) -> Tried:
    """Try to log in as one person with the head of another, for so many pairs of people."""
    random, reasons = np.random.default_rng(5), Counter[str | None]()
    for number, (victim, attacker) in enumerate(list(permutations(door.people, 2))[:pairs]):
        held, own = (door.to_hold[person][number % MOST_HELD] for person in (victim, attacker))
        reasons[_short(door.try_to_enter(victim, Mixed(held, own, random)))] += 1
    return Tried("two people mixed, then one of them", False, reasons)


def _short(reason: str | None) -> str | None:
    """Without the numbers that differ from login to login."""
    return reason and re.sub(r"[\d.]+%?", "", reason.split(":")[0]).replace("  ", " ").strip()


def unchanged(frame: RGBImage) -> RGBImage:
    """The very pixels."""
    return frame


def compressed_again(frame: RGBImage) -> RGBImage:
    """As JPEG of quality 90."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=90)
    return np.asarray(Image.open(file))


def png(pixels: RGBImage) -> bytes:
    """A file without loss."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
