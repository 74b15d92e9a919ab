"""Find turns of real heads in clips of people who talk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from liveness.attacks import detect
from pgface.errors import LivenessError
from pgface.faces.engines.base import Detection, Engine
from pgface.faces.liveness.motion import Side, face_patch
from pgface.faces.pixels import RGBImage

FRAMES_PER_SECOND = 10
MAX_TURN_FRAMES = 30
"""The maximum number of frames of a turn."""
MAX_FRAMES = 400
"""The maximum number of frames of a clip."""
MAX_FRAME_SIDE = 720
"""The maximum pixels of a frame's longer side."""
_MAX_START_YAW = 8.0
"""The maximum yaw at the start of a turn, in degrees from the clip's median."""
_MAX_STEP = 15.0
"""The maximum change of the yaw between two frames, in degrees."""
SUFFIXES = {".mp4", ".avi", ".mov", ".webm", ".gif"}


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """A turn of a real head, from a frontal frame to the most turned one."""

    clip: str
    side: Side
    yaw: float
    """The degrees between these two frames."""
    patches: Sequence[NDArray[np.uint8]]


def turns_of(file: Path, engine: Engine, least: float) -> list[Turn]:
    """Find the turns of a clip's largest face by at least `least` degrees."""
    patches, yaws = _patches(file, engine)
    if not any(patch is not None for patch in patches):
        return []
    middle = float(np.nanmedian(yaws))
    middle = middle if abs(middle) < 12 else 0.0
    found = []
    sides: tuple[tuple[Side, int], ...] = (("left", 1), ("right", -1))
    for side, sign in sides:
        for begin, end in _spans(sign * (yaws - middle), least):
            span = patches[begin : end + 1]
            if all(patch is not None for patch in span):
                kept = [patch for patch in span if patch is not None]
                found.append(Turn(file.name, side, abs(float(yaws[end] - yaws[begin])), kept))
    return found


def _spans(turned: NDArray[np.float64], least: float) -> Iterator[tuple[int, int]]:
    """Give the first and last frame of each turn, from the middle to its farthest point."""
    last = -1
    for end in range(1, len(turned) - 1):
        if not turned[end] >= max(turned[end - 1], turned[end + 1]) or end <= last + 3:
            continue
        begin = _begin(turned, end, least)
        if begin is not None:
            yield begin, end
            last = end


def _begin(turned: NDArray[np.float64], end: int, least: float) -> int | None:
    for begin in range(end - 1, max(-1, end - MAX_TURN_FRAMES), -1):
        step = abs(turned[begin + 1] - turned[begin])
        if not step <= _MAX_STEP or turned[begin] > turned[end] + 2:
            return None
        if abs(turned[begin]) <= _MAX_START_YAW and turned[end] - turned[begin] >= least:
            return begin
    return None


def _patches(file: Path, engine: Engine) -> tuple[list[NDArray[np.uint8] | None], NDArray[np.float64]]:
    patches: list[NDArray[np.uint8] | None] = []
    yaws: list[float] = []
    for frame in _frames(file):
        patch, yaw = _measured(detect(engine, frame))
        patches.append(patch)
        yaws.append(yaw)
    return patches, np.array(yaws)


def _measured(face: Detection | None) -> tuple[NDArray[np.uint8] | None, float]:
    if face is None:
        return None, np.nan
    try:
        return face_patch(face), face.quality.yaw
    except LivenessError:  # too small
        return None, np.nan


def _frames(file: Path) -> Iterator[RGBImage]:
    video = cv2.VideoCapture(str(file))
    step = max(1, round((video.get(cv2.CAP_PROP_FPS) or 25) / FRAMES_PER_SECOND))
    for number in range(MAX_FRAMES * step):
        read, frame = video.read()
        if not read:
            return
        if number % step == 0:
            scale = min(1.0, MAX_FRAME_SIDE / max(frame.shape[:2]))
            smaller = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            yield np.ascontiguousarray(smaller[:, :, ::-1])
