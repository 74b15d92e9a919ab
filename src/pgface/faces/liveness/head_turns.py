"""Check liveness by challenge and response: a head must turn as requested, one step at a time.

A course is a sequence of steps: look straight ahead, turn, look straight ahead, and so on. The order, the number and
the holding times are random, and each step is shown only after the previous one is complete. So a recording that is
played to a camera does not fit, and frames cannot be prepared before a course starts. For each turn to a side,
`pgface.faces.liveness.motion` checks that the motion inside the face is that of a head, and not of a flat or bent
picture.

This does not stop a mask. It also does not stop a program that sends frames to the API, and makes them or picks them
from a recording during the course (`docs/explanation/liveness.md`). It is not certified (ISO/IEC 30107-3 defines the
tests).
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
from pgface.faces.engines.base import Face
from pgface.faces.liveness.motion import (
    MIN_FRONTAL_FACE_SIZE,
    FaceMotion,
    FaceTrack,
    face_patch,
    require_head,
    require_size,
)

Turn: TypeAlias = Literal["left", "right", "up"]
"""A turn to the person's left or right, or up. A person who turns left looks towards the right of the picture."""
Pose: TypeAlias = Turn | Literal["centre"]

TURN_COUNTS: Final = (3, 4)
"""Possible numbers of turns in a course."""
HOLD_FRAMES: Final = (2, 5, 8, 11)
"""Possible numbers of frames for which a pose is held before the next one is requested."""
MAX_FRAMES: Final = 300
"""Maximum number of frames of a course: half a minute at ten frames a second."""
MAX_FRAMES_PER_STEP: Final = 60
FRONTAL_YAW: Final = 15.0
"""Maximum yaw to either side, in degrees, at the start of a course."""
MAX_CENTRE_ANGLE: Final = 10.0
"""Maximum distance from the pose at the start, in degrees, that counts as straight ahead."""
MIN_TURN_ANGLE: Final = 18.0
"""Minimum yaw from the pose at the start, in degrees, that counts as a turn to a side."""
MIN_RAISE_ANGLE: Final = 14.0
"""Minimum pitch from the pose at the start, in degrees. A tilted photo reaches 12°, so a look up proves less."""
MAX_STEP_ANGLE: Final = 15.0
"""Maximum turn from one frame to the next, in degrees. At ten frames a second, no head is faster."""
SAME_PICTURE_SIMILARITY: Final = 1 - 1e-5
"""Two frames with a higher similarity are the same picture. With noise of only half a grey level, any two of eight
frames differ by 6e-5 or more (four photos, both engines)."""
MIN_MEASURED_ANGLE: Final = 12.0
"""Minimum turn, in degrees, from the most frontal to the farthest frame in which the motion of a turn is measured."""
_MIN_MOTION_STEP: Final = 1.0
"""Minimum turn, in degrees, from one frame that counts for the motion to the next."""

_SIDES: Final[tuple[Turn, ...]] = ("left", "right")


@dataclass(frozen=True, slots=True)
class Step:
    """One pose of a course."""

    pose: Pose
    hold: int
    """Number of frames in this pose before the next step is requested."""


Course: TypeAlias = tuple[Step, ...]


def draw_course(*, looks_up: bool) -> Course:
    """Draw a course at random. Between two turns, the head looks straight ahead.

    The number of turns is drawn first, then their order and the holding times, each equally likely.

    Args:
        looks_up: whether the model can measure a look up.

    """
    turns = secrets.choice(orders(secrets.choice(TURN_COUNTS), looks_up=looks_up))
    poses: list[Pose] = ["centre", *chain.from_iterable((turn, "centre") for turn in turns)]
    return tuple(Step(pose, secrets.choice(HOLD_FRAMES)) for pose in poses)


def orders(count: int, *, looks_up: bool) -> list[tuple[Turn, ...]]:
    """Return every order of this number of turns that contains both sides, which no flat photo can show."""
    directions: tuple[Turn, ...] = (*_SIDES, "up") if looks_up else _SIDES
    return [turns for turns in product(directions, repeat=count) if set(_SIDES) <= set(turns)]


@dataclass(slots=True)
class HeadTurns:
    """The state of a course, which follows the head frame by frame. You can store it between two requests.

    Angles are in degrees. Embeddings have shape (512,), float32, Euclidean norm 1.
    """

    course: Course
    same_person: float
    """Minimum similarity of the face to that of the previous frame, and to that of the frontal one."""
    step: int = 0
    held: int = 0
    """Frames in the pose of this step so far."""
    waited: int = 0
    """Frames since the step was requested."""
    frames: int = 0
    origin: tuple[float, float] = (0.0, 0.0)
    """Yaw and pitch of the first frame, because a face is never perfectly symmetric."""
    last: tuple[float, float] = (0.0, 0.0)
    """Yaw and pitch of the last frame."""
    last_embedding: NDArray[np.float32] | None = None
    shown: list[NDArray[np.float32]] = field(default_factory=list)
    """Embeddings to compare: of the frame that completed each look straight ahead, and of the frame in which each turn
    started. All are compared, so that one person cannot turn their head in place of another."""
    track: FaceTrack | None = None
    """The face in a turn to a side, followed from its most frontal frame."""
    track_embedding: NDArray[np.float32] | None = None
    """Embedding of the frame in which the track starts."""
    track_begin: float = 0.0
    """Turn of the head to the side at the start of the track."""
    track_end: float = 0.0
    """Turn of the head to the side at the end of the track."""
    motions: list[FaceMotion] = field(default_factory=list)

    @property
    def pose(self) -> Pose:
        """The pose that is requested now."""
        return self.course[min(self.step, len(self.course) - 1)].pose

    @property
    def progress(self) -> float:
        """The share of completed steps, 0 to 1."""
        return self.step / len(self.course)

    @property
    def done(self) -> bool:
        """Whether the head has completed all steps."""
        return self.step == len(self.course)

    def see(self, face: Face) -> bool:
        """Check the next frame. Return whether it completes a look straight ahead, so that it must be compared.

        Args:
            face: the only face in the frame.

        Raises:
            LivenessError: the head does not move as requested. The message is for the audit log, not for the client.

        """
        self.frames += 1
        if self.frames > MAX_FRAMES:
            raise LivenessError(f"There are more than {MAX_FRAMES} frames.")
        self._require_same_head(face)
        direction = self._direction(face)
        self._follow(face, direction)
        self._require_requested(direction)
        self.last, self.last_embedding = (face.quality.yaw, face.quality.pitch), face.embedding
        completes = self.pose == direction == "centre" and self.held == self.course[self.step].hold
        if completes:
            self.shown.append(face.embedding)
        return completes

    def end_step(self) -> bool:
        """End the step if its pose was held long enough, and return whether it was.

        Call it after the last frame of a request. Frames before a step was requested are not a response to it.

        Raises:
            LivenessError: this was the last step, and the motion inside the face is that of a picture.

        """
        if self.done or self.held < self.course[self.step].hold:
            return False
        if self.pose == "left" or self.pose == "right":
            measured = self.track_end - self.track_begin
            if self.track is None or self.track_embedding is None or measured < MIN_MEASURED_ANGLE:
                return False  # the head must turn farther
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
                raise LivenessError("The head does not look straight ahead at the start.")
            self.origin = yaw, pitch
            return
        similarity = float(face.embedding @ self.last_embedding)
        if similarity > SAME_PICTURE_SIMILARITY:
            raise LivenessError(f"Frame {self.frames} is sent more than once.")
        if similarity < self.same_person:
            raise LivenessError(f"Frames {self.frames - 1} and {self.frames} do not show the same person.")
        # One face may change into another in small steps.
        if self.shown and float(face.embedding @ self.shown[0]) < self.same_person:
            raise LivenessError(f"Frame {self.frames} does not show the person of the frontal frame.")
        steps = [abs(yaw - self.last[0]), abs(pitch - self.last[1])]
        if not max((step for step in steps if not math.isnan(step)), default=math.inf) <= MAX_STEP_ANGLE:
            raise LivenessError(f"Between frames {self.frames - 1} and {self.frames} the head jumps.")

    def _require_requested(self, direction: Pose | None) -> None:
        """Check that the head is in the requested pose, on its way to it, or still."""
        self.waited += 1
        if self.waited > MAX_FRAMES_PER_STEP:
            raise LivenessError(f"The head does not turn {_pose_text(self.pose)} and stay there.")
        if direction == self.pose:
            self.held += 1
        elif direction == "centre":
            self.held = 0  # too early, or not there yet
        elif direction is not None and (self.held or self.step == 0 or direction != self.course[self.step - 1].pose):
            raise LivenessError(f"The head turns {_pose_text(direction)} and not {_pose_text(self.pose)}.")

    def _follow(self, face: Face, direction: Pose | None) -> None:
        """Follow the points of the most frontal face to where the head has turned farthest.

        A track starts only in a frame that looks straight ahead: the last one before a turn was requested, or a more
        frontal one.
        """
        aside = face.quality.yaw - self.origin[0]
        turned = aside if self.pose == "left" else -aside
        more_frontal = self.track is None or self.pose not in _SIDES or turned < self.track_begin
        if direction == "centre" and more_frontal:
            require_size(face, MIN_FRONTAL_FACE_SIZE)
            self.track, self.track_embedding = FaceTrack.start(face_patch(face)), face.embedding
            # The side of the turn is not known yet.
            self.track_begin = self.track_end = turned if self.pose in _SIDES else abs(turned)
        # A head that does not move would add only noise.
        elif self.pose in _SIDES and self.track is not None and turned > self.track_end + _MIN_MOTION_STEP:
            self.track.follow(face_patch(face))
            self.track_end = turned

    def _direction(self, face: Face) -> Pose | None:
        """Return the pose of the head, relative to the start. None between two poses."""
        aside, raised = face.quality.yaw - self.origin[0], face.quality.pitch - self.origin[1]
        if math.isnan(raised):  # a model without mouth corners does not measure pitch
            raised = 0.0
        if abs(aside) >= MIN_TURN_ANGLE:
            return "left" if aside > 0 else "right"
        if abs(aside) > MAX_CENTRE_ANGLE:
            return None
        if raised >= MIN_RAISE_ANGLE:
            return "up"
        return "centre" if raised < MIN_RAISE_ANGLE / 2 else None

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts, and that `from_json` reads."""
        values = {name: getattr(self, name) for name in _PLAIN_FIELDS}
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
        """Restore a course from the values of `to_json`."""
        track = values["track"]
        return cls(
            **{name: values[name] for name in _PLAIN_FIELDS if name not in ("origin", "last")},
            origin=tuple(values["origin"]),
            last=tuple(values["last"]),
            course=tuple(Step(pose, hold) for pose, hold in values["course"]),
            last_embedding=_from_text(values["last_embedding"]),
            shown=[embedding for text in values["shown"] if (embedding := _from_text(text)) is not None],
            track_embedding=_from_text(values["track_embedding"]),
            track=None if track is None else FaceTrack.from_bytes(base64.b64decode(track)),
            motions=[FaceMotion(**motion) for motion in values["motions"]],
        )


_PLAIN_FIELDS: Final = (
    "same_person", "step", "held", "waited", "frames", "origin", "last", "track_begin", "track_end",
)  # fmt: skip


def _to_text(embedding: NDArray[np.float32] | None) -> str | None:
    return None if embedding is None else base64.b64encode(embedding.astype("<f4").tobytes()).decode()


def _from_text(text: str | None) -> NDArray[np.float32] | None:
    return None if text is None else np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float32)


def _pose_text(pose: Pose) -> str:
    return "straight ahead" if pose == "centre" else pose
