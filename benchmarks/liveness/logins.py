"""Try whole logins by face with attacks and heads that follow the challenge."""

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

from liveness.attacks import MAX_YAW, Angles, FramesFor, Kind, moved
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

FRAMES_PER_REQUEST = 5
"""The number of frames in a request."""
STEP = 5.0
"""The maximum degrees from one frame to the next."""
ATTACK_PHOTOS = 5
"""The number of photos of each person for attacks. They are not enrolled."""
PATIENCE = 4
"""The number of requests in one pose, after which a head turns farther."""
MAX_PITCH = 26.0
"""The pitch that a login requests, in degrees."""
_POSES: dict[Pose, Angles] = {
    "centre": Angles(0),
    "left": Angles(MAX_YAW),
    "right": Angles(-MAX_YAW),
    "up": Angles(0, MAX_PITCH),
}

NextFrames = Callable[[Pose], list[RGBImage]]
"""Gives the frames of the next request for the requested pose."""


class LoginGallery:
    """A gallery with all people of the photos enrolled, which admits them by their face alone."""

    def __init__(self, gallery: Gallery, photos: dict[str, list[Photo]]) -> None:
        """Enroll each person with some photos, and keep the most frontal ones for the attacks."""
        self._gallery = gallery
        self._login = FaceLogin(gallery)
        self.people = sorted(photos)
        self.attack_photos: dict[str, list[Photo]] = {}
        for person, found in photos.items():
            by_yaw = sorted(found, key=lambda photo: abs(head_pose(photo.landmarks)[0]))
            self.attack_photos[person] = by_yaw[:ATTACK_PHOTOS]
            for photo in by_yaw[ATTACK_PHOTOS:]:
                gallery.enroll(
                    png(photo.pixels), f"{person.lower()}@example.org", face="largest", allow_other_user=True
                )

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, model: str, photos: dict[str, list[Photo]]) -> Iterator[LoginGallery]:
        """Create the gallery on an embedded PostgreSQL in a folder."""
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

    def try_login(self, person: str, look: NextFrames) -> str | None:
        """Log in as a person. Returns the reason of a refusal from the audit log, or None."""
        with self._gallery.database.transaction() as connection:
            connection.execute("DELETE FROM login_attempts")  # so that the limit on attempts does not apply
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


class Presentation:
    """An object that moves from pose to pose in front of the camera. It keeps the camera's frames."""

    def __init__(self, frames_for: FramesFor) -> None:
        self._frames_for = frames_for
        self._at = Angles(0)
        self._requested: list[Pose] = []
        self.taken: list[tuple[Angles, RGBImage]] = []

    def __call__(self, pose: Pose) -> list[RGBImage]:
        """Move towards the pose for the frames of a request. Move farther if the same pose is requested repeatedly."""
        self._requested = [*self._requested, pose] if self._requested[-1:] == [pose] else [pose]
        farther = 1 + 0.1 * max(0, len(self._requested) - PATIENCE)
        goal = Angles(*(farther * degrees for degrees in _POSES[pose]))
        poses = [self._towards(goal) for _ in range(FRAMES_PER_REQUEST)]
        frames = self._frames_for(poses)
        self.taken += zip(poses, frames, strict=True)
        return frames

    def _towards(self, goal: Angles) -> Angles:
        way = np.clip(np.subtract(goal, self._at), -STEP, STEP)
        self._at = Angles(*(float(degrees) for degrees in np.add(self._at, way)))
        return self._at


class Replay:
    """The frames of an earlier login, sent again in the order that the challenge requests."""

    def __init__(
        self, taken: Sequence[tuple[Angles, RGBImage]], changed: Callable[[RGBImage], RGBImage], *, in_order: bool
    ) -> None:
        """Keep the frames.

        Args:
            taken: the direction of the head, and the camera's frame.
            changed: changes each frame.
            in_order: whether the frames keep their recorded order, whatever the challenge requests.

        """
        self._taken = list(taken)
        self._changed = changed
        self._in_order = in_order
        self._at = Angles(0)

    def __call__(self, pose: Pose) -> list[RGBImage]:
        """Give the next frames. Each frame is shown once."""
        count = min(FRAMES_PER_REQUEST, len(self._taken))
        return [self._changed(self._next(_POSES[pose])) for _ in range(count)]

    def _next(self, goal: Angles) -> RGBImage:
        if self._in_order:
            return self._taken.pop(0)[1]
        wanted = np.add(self._at, np.clip(np.subtract(goal, self._at), -STEP, STEP))
        nearest = min(range(len(self._taken)), key=lambda index: np.abs(wanted - self._taken[index][0]).sum())
        self._at, frame = self._taken.pop(nearest)
        return frame


class MixedFaces:
    """A mixed picture of two people, and then the turning head of one of them."""

    def __init__(self, victim: Photo, attacker: Photo, random: np.random.Generator) -> None:
        """Mix half of each picture, with the landmarks of one over those of the other."""
        moved_over, _ = cv2.estimateAffinePartial2D(attacker.landmarks, victim.landmarks, method=cv2.LMEDS)
        height, width = victim.pixels.shape[:2]
        own = cv2.warpAffine(attacker.pixels, moved_over, (width, height), borderMode=cv2.BORDER_REFLECT)
        mixed = Photo(np.asarray(cv2.addWeighted(victim.pixels, 0.5, own, 0.5, 0)), victim.landmarks)
        background = wall(3)
        self._still = moved(lambda pose, _: flat(mixed, pose, background), random, 0.3)
        self._live = Presentation(moved(lambda pose, _: head(attacker, pose, DEFAULT_SHAPE, background), random, 1.0))
        self._first = True

    def __call__(self, pose: Pose) -> list[RGBImage]:
        """Show the picture until a turn is requested, and the head from then on."""
        self._first = self._first and pose == "centre"
        return self._still([Angles(0)] * FRAMES_PER_REQUEST) if self._first else self._live(pose)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The outcomes of one kind of logins."""

    kind: str
    head: bool
    """Whether it has the shape of a head."""
    reasons: Counter[str | None]
    """The number of logins by the first words of their refusal, None for admitted logins."""

    @property
    def row(self) -> tuple[str, ...]:
        """The cells of a table."""
        refused = ", ".join(f"{count} {reason}" for reason, count in self.reasons.most_common() if reason)
        return self.kind, f"{self.reasons[None]} of {self.reasons.total()}", refused


def try_kinds(gallery: LoginGallery, kinds: Sequence[Kind], engine: Engine, count: int) -> Iterator[Outcomes]:
    """Try `count` logins with each kind, and then replay the frames of admitted heads."""
    recordings: list[tuple[str, Presentation]] = []
    for kind in kinds:
        random = np.random.default_rng(sum(map(ord, kind.name)))
        reasons: Counter[str | None] = Counter()
        for number in range(count):
            person = gallery.people[number % len(gallery.people)]
            photos = gallery.attack_photos[person]
            held = Presentation(kind.make(photos[number // len(gallery.people) % len(photos)], photos, engine, random))
            reason = gallery.try_login(person, held)
            reasons[_short(reason)] += 1
            if reason is None and kind.head:
                recordings.append((person, held))
        yield Outcomes(kind.name, kind.head, reasons)
    recordings = recordings[-count:]
    for name, changed, in_order in (
        ("replayed unchanged", unchanged, True),
        ("cut and reordered to fit", unchanged, False),
        ("cut, reordered, compressed again", compressed_again, False),
    ):
        made = [(person, Replay(held.taken, changed, in_order=in_order)) for person, held in recordings]
        yield Outcomes(name, False, Counter(_short(gallery.try_login(person, replay)) for person, replay in made))


def try_mixed(gallery: LoginGallery, pairs: int) -> Outcomes:
    """Try to log in as one person with the head of another, for a number of pairs of people."""
    random, reasons = np.random.default_rng(5), Counter[str | None]()
    for number, (victim, attacker) in enumerate(list(permutations(gallery.people, 2))[:pairs]):
        held, own = (gallery.attack_photos[person][number % ATTACK_PHOTOS] for person in (victim, attacker))
        reasons[_short(gallery.try_login(victim, MixedFaces(held, own, random)))] += 1
    return Outcomes("two people mixed, then one of them", False, reasons)


def _short(reason: str | None) -> str | None:
    """Remove the numbers, which differ from login to login."""
    return reason and re.sub(r"[\d.]+%?", "", reason.split(":")[0]).replace("  ", " ").strip()


def unchanged(frame: RGBImage) -> RGBImage:
    """Return the frame itself."""
    return frame


def compressed_again(frame: RGBImage) -> RGBImage:
    """Compress a frame as JPEG of quality 90."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=90)
    return np.asarray(Image.open(file))


def png(pixels: RGBImage) -> bytes:
    """Encode pixels as PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
