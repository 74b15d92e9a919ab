"""Whether somebody turns their head as they were asked to: liveness by challenge and response.

A photo that is held to the camera can be moved, tilted and bent, and its nose stays where it is between the eyes: what
pose is estimated from (`pgface.faces.quality.head_pose`) is the parallax of a nose that stands out. A recording of
the person shows turns, but not those that were asked for this time. It does not stop a video that follows the
challenge, as software can make one, nor a mask. It is not certified by anybody (ISO/IEC 30107-3 says how that would be
tested).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final, Literal

import numpy as np

from pgface.errors import LivenessError
from pgface.faces.engine import Face

Turn = Literal["left", "right", "up"]
"""Of the head, as the person feels it: whoever turns to their left looks towards the right side of the picture."""

_Direction = Turn | Literal["centre", "between"]

FEWEST_FRAMES: Final = 10
MOST_FRAMES: Final = 100
FRONTAL_YAW: Final = 15.0
"""Degrees to either side within which the session begins and ends."""
CENTRE: Final = 10.0
"""Degrees around where it began, for looking straight ahead."""
TURNED: Final = 18.0
"""Degrees from where it began, for a turn to a side."""
RAISED: Final = 14.0
"""The same for a look up. It proves less: of a photo that is tilted, a detector takes up to 12° for one."""
FARTHEST_STEP: Final = 15.0
"""Degrees from one frame to the next: at ten frames a second nobody turns faster, so frames are missing."""
SAME_PICTURE: Final = 1 - 1e-5
"""Similarity above which two frames are one picture. Noise of half a grey level alone makes any two of eight differ by
6e-5 or more (four photos, both engines)."""


@dataclass(frozen=True, slots=True)
class LiveFace:
    """Somebody who did as they were asked."""

    frontal: Face
    """Of the frames that look straight ahead, the sharpest."""
    frames: int
    samples: tuple[tuple[int, Face], ...]
    """Of the same frames the first, the sharpest and the last, each with its place among all, from 0: for what looks
    at single pictures, and takes too long to look at all."""


def check_turns(frames: Sequence[Sequence[Face]], turns: Sequence[Turn], *, same_person: float) -> LiveFace:
    """Check that one and the same person turned their head as they were asked, and did so in front of a camera.

    Args:
        frames: the faces of every frame, in the order in which they were taken, some ten a second.
        turns: what was asked for; between two turns the head may go through the middle. It begins and ends there.
        same_person: least similarity of one frame's face and the next one's, and of each and the frontal one's.

    Raises:
        LivenessError: it was not so; the sentence says why, which is for the audit log and not for the client.

    """
    if not FEWEST_FRAMES <= len(frames) <= MOST_FRAMES:
        raise LivenessError(f"There are {len(frames)} frames and not {FEWEST_FRAMES} to {MOST_FRAMES}.")
    faces = [_only(number, found) for number, found in enumerate(frames, 1)]
    _require_different_pictures(faces)
    _require_one_person(faces, same_person)
    seen = _directions(faces)
    # Each direction once for as long as it lasts; a head on its way does not end one.
    held = (direction for direction in seen if direction != "between")
    done = [direction for direction, _ in groupby(held) if direction != "centre"]
    if seen[0] != "centre" or seen[-1] != "centre":
        raise LivenessError("The head does not look straight ahead at the beginning and at the end.")
    if done != list(turns):
        raise LivenessError(f"The head turned {_told(done)} and not {_told(turns)}.")
    ahead = [number for number, direction in enumerate(seen) if direction == "centre"]
    sharpest = max(ahead, key=lambda number: faces[number].quality.sharpness)
    _require_person_of(faces[sharpest], faces, same_person)
    samples = sorted({ahead[0], sharpest, ahead[-1]})
    return LiveFace(faces[sharpest], len(faces), tuple((number, faces[number]) for number in samples))


def _only(number: int, found: Sequence[Face]) -> Face:
    if len(found) != 1:
        raise LivenessError(f"Frame {number} shows {len(found)} faces and not one.")
    return found[0]


def _require_different_pictures(faces: Sequence[Face]) -> None:
    """No two frames anywhere are one picture: not a still photo, and not a recording whose frames are sent again."""
    embeddings = np.stack([face.embedding for face in faces]).astype(np.float64)
    alike = np.triu(embeddings @ embeddings.T, k=1) > SAME_PICTURE
    if alike.any():
        raise LivenessError(f"Frame {int(alike.any(axis=1).argmax()) + 1} is sent more than once.")


def _require_one_person(faces: Sequence[Face], same_person: float) -> None:
    for number, (before, after) in enumerate(pairwise(faces), 1):
        if float(before.embedding @ after.embedding) < same_person:
            raise LivenessError(f"Frames {number} and {number + 1} do not show the same person.")
        steps = [abs(after.quality.yaw - before.quality.yaw), abs(after.quality.pitch - before.quality.pitch)]
        if max(step for step in steps if not math.isnan(step)) > FARTHEST_STEP:
            raise LivenessError(f"Between frames {number} and {number + 1} the head jumps.")


def _require_person_of(frontal: Face, faces: Sequence[Face], same_person: float) -> None:
    """Each frame shows the person whose face is going to be compared: one face may pass into another by small steps."""
    for number, face in enumerate(faces, 1):
        if float(face.embedding @ frontal.embedding) < same_person:
            raise LivenessError(f"Frame {number} does not show the person of the frontal frame.")


def _directions(faces: Sequence[Face]) -> list[_Direction]:
    """Where each frame looks, from where the first one looks, because no face is quite symmetric."""
    first = faces[0].quality
    if abs(first.yaw) > FRONTAL_YAW:
        raise LivenessError("The head does not look straight ahead at the beginning.")
    return [_direction(face, first.yaw, first.pitch) for face in faces]


def _direction(face: Face, yaw: float, pitch: float) -> _Direction:
    aside = face.quality.yaw - yaw
    raised = face.quality.pitch - pitch
    if math.isnan(raised):  # a model without mouth corners does not tell
        raised = 0.0
    if aside >= TURNED:
        return "left"
    if aside <= -TURNED:
        return "right"
    if abs(aside) > CENTRE:
        return "between"
    if raised >= RAISED:
        return "up"
    return "centre" if raised < RAISED / 2 else "between"


def _told(turns: Sequence[str]) -> str:
    return ", ".join(turns) or "nowhere"
