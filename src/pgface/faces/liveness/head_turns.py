"""Checks that a head turns as it is asked to, one step at a time: liveness by challenge and response.

A course is a row of steps: look straight ahead, turn, look straight ahead, and so on. Order, number and holding times
are drawn at random, and each step is told only after the last one was seen. So a recording that is played before a
camera does not fit, and nothing can be prepared before a course begins. For each turn to a side,
`pgface.faces.liveness.motion` checks that the motion inside of the face is that of a head, and not that of a flat or
bent picture.

It does not stop a mask, nor a program that sends frames to the API and makes them, or picks them from a recording,
while it is asked (`docs/explanation/liveness.md`). It is not certified (ISO/IEC 30107-3 says how that would be tested).
"""

from __future__ import annotations

import base64
import math
import secrets
from dataclasses import asdict, dataclass, field
from itertools import chain, product
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pgface.errors import LivenessError
from pgface.faces.engine import Face
from pgface.faces.liveness.motion import (
    SMALLEST_FRONTAL_FACE,
    FaceMotion,
    FaceTrack,
    face_patch,
    require_head,
    require_size,
)

Turn: TypeAlias = Literal["left", "right", "up"]
"""Of the head, as the person feels it: a person who turns to their left looks towards the right side of the picture."""
Pose: TypeAlias = Turn | Literal["centre"]

COUNTS: Final = (3, 4)
"""How many turns a course has."""
HOLDS: Final = (2, 5, 8, 11)
"""For how many frames a pose is held before the next one is told."""
MOST_FRAMES: Final = 300
"""Of a whole course: half a minute at ten a second."""
MOST_FRAMES_OF_A_STEP: Final = 60
FRONTAL_YAW: Final = 15.0
"""Degrees to either side within which a course begins."""
CENTRE: Final = 10.0
"""Degrees around where it began, for looking straight ahead."""
TURNED: Final = 18.0
"""Degrees from where it began, for a turn to a side."""
RAISED: Final = 14.0
"""The same for a look up. It proves less: of a photo that is tilted, a detector takes up to 12° for one."""
FARTHEST_STEP: Final = 15.0
"""Degrees from one frame to the next: at ten frames a second no head turns faster, so frames are missing."""
SAME_PICTURE: Final = 1 - 1e-5
"""Similarity above which two frames are one picture. Noise of half a grey level alone makes any two of eight differ by
6e-5 or more (four photos, both engines)."""
LEAST_TURN: Final = 12.0
"""Degrees between the most frontal frame of a turn and the farthest one, in which its motion is measured."""
_FARTHER: Final = 1.0
"""Degrees that a head turns from one frame that counts for its motion to the next one that does."""

_SIDES: Final[tuple[Turn, ...]] = ("left", "right")


@dataclass(frozen=True, slots=True)
class Step:
    """One pose of a course."""

    pose: Pose
    hold: int
    """Frames in this pose, before the next step is told."""


Course: TypeAlias = tuple[Step, ...]


def draw_course(*, looks_up: bool) -> Course:
    """Draw a course at random.

    The number of turns is drawn first, then their order and the holding times, each equally likely. The head goes
    through the middle between two turns, and both sides occur in every course.

    Args:
        looks_up: whether the model can tell a look up.

    """
    turns = secrets.choice(orders(secrets.choice(COUNTS), looks_up=looks_up))
    poses: list[Pose] = ["centre", *chain.from_iterable((turn, "centre") for turn in turns)]
    return tuple(Step(pose, secrets.choice(HOLDS)) for pose in poses)


def orders(count: int, *, looks_up: bool) -> list[tuple[Turn, ...]]:
    """Every order of so many turns that has both sides in it, which no flat photo can show."""
    directions: tuple[Turn, ...] = (*_SIDES, "up") if looks_up else _SIDES
    return [turns for turns in product(directions, repeat=count) if set(_SIDES) <= set(turns)]


@dataclass(slots=True)
class HeadTurns:
    """Follows a course, frame by frame. It can be written down between two requests.

    Angles are degrees; embeddings have shape (512,), float32, Euclidean norm 1.
    """

    course: Course
    same_person: float
    """Least similarity of each frame's face and the next one's, and of each and the frontal one's."""
    step: int = 0
    held: int = 0
    """Frames in the pose of this step so far."""
    waited: int = 0
    """Frames since this step was told."""
    frames: int = 0
    origin: tuple[float, float] = (0.0, 0.0)
    """Yaw and pitch of the first frame, because no face is quite symmetric."""
    last: tuple[float, float] = (0.0, 0.0)
    """Yaw and pitch of the last frame."""
    last_embedding: NDArray[np.float32] | None = None
    shown: list[NDArray[np.float32]] = field(default_factory=list)
    """Embeddings to compare: of the frame that completed each look straight ahead, and of the one in which each turn
    began. All of them, so that one person cannot turn their head for the face of another."""
    track: FaceTrack | None = None
    """Of a turn to a side, from its most frontal frame on."""
    track_embedding: NDArray[np.float32] | None = None
    """Of the frame in which the track begins."""
    track_begin: float = 0.0
    """How far the head had turned to the side where the track begins, and how far where it ends."""
    track_end: float = 0.0
    motions: list[FaceMotion] = field(default_factory=list)

    @property
    def pose(self) -> Pose:
        """What is asked for now."""
        return self.course[min(self.step, len(self.course) - 1)].pose

    @property
    def progress(self) -> float:
        """The share of the steps that are done, 0 to 1."""
        return self.step / len(self.course)

    @property
    def done(self) -> bool:
        """Whether the head has done all that it was asked to."""
        return self.step == len(self.course)

    def see(self, face: Face) -> bool:
        """Look at the next frame; returns whether it completes a look straight ahead, so that it is compared.

        Args:
            face: the only face in it.

        Raises:
            LivenessError: the head does not do as it is asked. The sentence is for the audit log and not for the
                client.

        """
        self.frames += 1
        if self.frames > MOST_FRAMES:
            raise LivenessError(f"There are more than {MOST_FRAMES} frames.")
        self._require_same_head(face)
        direction = self._direction(face)
        self._follow(face, direction)
        self._require_asked(direction)
        self.last, self.last_embedding = (face.quality.yaw, face.quality.pitch), face.embedding
        completes = self.pose == direction == "centre" and self.held == self.course[self.step].hold
        if completes:
            self.shown.append(face.embedding)
        return completes

    def end_step(self) -> bool:
        """End the step if its pose was held long enough; returns whether it was.

        Call it after the last frame of a request: frames that came before a step was told cannot be its answer.

        Raises:
            LivenessError: this was the last step, and the motion inside of the face is that of a picture.

        """
        if self.done or self.held < self.course[self.step].hold:
            return False
        if self.pose == "left" or self.pose == "right":
            if self.track is None or self.track_embedding is None or self.track_end - self.track_begin < LEAST_TURN:
                return False  # they have to turn farther
            self.motions.append(self.track.motion(self.pose))
            self.shown.append(self.track_embedding)
            self.track = None
        self.step, self.held, self.waited = self.step + 1, 0, 0
        if self.step == len(self.course):
            require_head(self.motions)
        return True

    def _require_same_head(self, face: Face) -> None:
        yaw, pitch = face.quality.yaw, face.quality.pitch
        if self.last_embedding is None:
            if not abs(yaw) <= FRONTAL_YAW:
                raise LivenessError("The head does not look straight ahead at the beginning.")
            self.origin = yaw, pitch
            return
        similarity = float(face.embedding @ self.last_embedding)
        if similarity > SAME_PICTURE:
            raise LivenessError(f"Frame {self.frames} is sent more than once.")
        if similarity < self.same_person:
            raise LivenessError(f"Frames {self.frames - 1} and {self.frames} do not show the same person.")
        # One face may pass into another by small steps.
        if self.shown and float(face.embedding @ self.shown[0]) < self.same_person:
            raise LivenessError(f"Frame {self.frames} does not show the person of the frontal frame.")
        steps = [abs(yaw - self.last[0]), abs(pitch - self.last[1])]
        if not max((step for step in steps if not math.isnan(step)), default=math.inf) <= FARTHEST_STEP:
            raise LivenessError(f"Between frames {self.frames - 1} and {self.frames} the head jumps.")

    def _require_asked(self, direction: Pose | None) -> None:
        """The head is in the pose that was asked for, on its way to it, or has not begun to move."""
        self.waited += 1
        if self.waited > MOST_FRAMES_OF_A_STEP:
            raise LivenessError(f"The head does not turn {_told(self.pose)} and stay there.")
        if direction == self.pose:
            self.held += 1
        elif direction == "centre":
            self.held = 0  # too early, or not yet
        elif direction is not None and (self.held or direction != self._pose_before()):
            raise LivenessError(f"The head turns {_told(direction)} and not {_told(self.pose)}.")

    def _pose_before(self) -> Pose:
        return self.course[self.step - 1].pose if self.step else "centre"

    def _follow(self, face: Face, direction: Pose | None) -> None:
        """Carry the points of the most frontal face along, to where the head has turned farthest.

        A track begins only in a frame that looks straight ahead: the last one before a turn was asked for, or one that
        is more frontal.
        """
        turned = self._turned(face)
        nearer = self.track is None or self.pose not in _SIDES or turned < self.track_begin
        if direction == "centre" and nearer:
            require_size(face, SMALLEST_FRONTAL_FACE)
            self.track, self.track_embedding = FaceTrack.start(face_patch(face)), face.embedding
            # Which side is asked for is not known yet.
            self.track_begin = self.track_end = turned if self.pose in _SIDES else abs(turned)
        # A head that stays where it is would add nothing but noise.
        elif self.pose in _SIDES and self.track is not None and turned > self.track_end + _FARTHER:
            self.track.follow(face_patch(face))
            self.track_end = turned

    def _turned(self, face: Face) -> float:
        """How far to the side that is asked for."""
        aside = face.quality.yaw - self.origin[0]
        return aside if self.pose == "left" else -aside

    def _direction(self, face: Face) -> Pose | None:
        """Where the head looks, from where it looked first; None between two poses."""
        aside, raised = face.quality.yaw - self.origin[0], face.quality.pitch - self.origin[1]
        if math.isnan(raised):  # a model without mouth corners does not tell
            raised = 0.0
        if abs(aside) >= TURNED:
            return "left" if aside > 0 else "right"
        if abs(aside) > CENTRE:
            return None
        if raised >= RAISED:
            return "up"
        return "centre" if raised < RAISED / 2 else None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values, from which `from_json` makes the same again."""
        values = {name: getattr(self, name) for name in _PLAIN}
        return values | {
            "course": [[step.pose, step.hold] for step in self.course],
            "last_embedding": _to_text(self.last_embedding),
            "shown": [_to_text(embedding) for embedding in self.shown],
            "track_embedding": _to_text(self.track_embedding),
            "track": None if self.track is None else base64.b64encode(self.track.to_bytes()).decode(),
            "motions": [asdict(motion) for motion in self.motions],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> HeadTurns:
        """What `to_json` gave."""
        track = values["track"]
        return cls(
            **{name: values[name] for name in _PLAIN if name not in ("origin", "last")},
            origin=tuple(values["origin"]),
            last=tuple(values["last"]),
            course=tuple(Step(pose, hold) for pose, hold in values["course"]),
            last_embedding=_from_text(values["last_embedding"]),
            shown=[embedding for text in values["shown"] if (embedding := _from_text(text)) is not None],
            track_embedding=_from_text(values["track_embedding"]),
            track=None if track is None else FaceTrack.from_bytes(base64.b64decode(track)),
            motions=[FaceMotion(**motion) for motion in values["motions"]],
        )


_PLAIN: Final = (
    "same_person", "step", "held", "waited", "frames", "origin", "last", "track_begin", "track_end",
)  # fmt: skip


def _to_text(embedding: NDArray[np.float32] | None) -> str | None:
    return None if embedding is None else base64.b64encode(embedding.astype("<f4").tobytes()).decode()


def _from_text(text: str | None) -> NDArray[np.float32] | None:
    return None if text is None else np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float32)


def _told(pose: Pose) -> str:
    return "straight ahead" if pose == "centre" else pose
