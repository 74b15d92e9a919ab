"""What Chromium takes for a camera: a video file, made of real photos, of a head that turns, or of a photo.

Chromium opens the file each time a page opens the camera, reads its frames one after another, and begins again at its
end (media/capture/video/file_video_capture_device.cc). It reads each frame when it is due, so a test can write others
into the file while it is shown, and let a head do what the page asks for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgface.faces.engines.base import Face
from pgface.faces.liveness.head_turns import Pose, Turn
from pgface.faces.pixels import RGBImage
from support.moving_heads import STATIONS, path, tilted, turned

WIDTH, HEIGHT = 320, 240
LONGEST_STEP = 0.15
"""Seconds for which a head moves between two pictures."""
RING = 40
"""Frames of a video that is written anew all the time: two seconds, in which none repeats."""
A_SECOND = 20
"""Frames. Twice as many as a page needs, so that one that looks at the wrong moment loses 50 ms."""
LEAD = 2.0
"""Seconds of looking straight ahead at the beginning, while the page gets ready."""
DURATION = 20.0
"""Seconds until the video begins again: longer than any page records."""
ASIDE = 26.0
"""Degrees of a turn to a side, as pgface measures it; it asks for 18."""
UPWARDS = 18.0
"""The same for a look up; it asks for 14."""
SPEED = 35.0
"""Degrees a second, as pgface measures them: a page that misses four tenths of a second sees no step of 15 degrees."""
NOISE = 3.0
"""Standard deviation of each pixel's brightness: no camera gives one picture twice."""


_HEADER = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{A_SECOND}:1 Ip C420jpeg\n".encode()


class Head:
    """A head in front of the camera, made of a photo of one person."""

    def __init__(self, faces: Callable[[RGBImage], Sequence[Face]], file: Path) -> None:
        """Turn the photo's head to all sides, and measure each pose as pgface will.

        Args:
            faces: finds the faces of a picture.
            file: the photo.

        """
        self.photo = _in_camera(np.asarray(Image.open(file).convert("RGB")))
        (face,) = faces(self.photo)

        def measured(turn: Turn) -> list[tuple[float, RGBImage]]:
            """Poses from straight ahead to a side: how far pgface sees the head turned, and the picture."""
            pictures = [turned(self.photo, face.landmarks, pose) for pose in path((0, 0), STATIONS[turn], step=3)]
            found = [seen.quality for picture in pictures for seen in faces(picture)]
            if turn == "up":
                degrees = [quality.pitch - face.quality.pitch for quality in found]
            else:
                degrees = [abs(quality.yaw - face.quality.yaw) for quality in found]
            return list(zip(degrees, pictures, strict=True))

        self._measured = {turn: measured(turn) for turn in ("left", "right", "up")}
        self._turn, self._degrees = "left", 0.0

    def look_ahead(self) -> None:
        """Turn back at once."""
        self._degrees = 0.0

    def move(self, pose: Pose, seconds: float) -> RGBImage:
        """Turn towards a pose for so long, and no farther; returns what the camera sees then."""
        goal = 0.0 if pose == "centre" else UPWARDS if pose == "up" else ASIDE
        if pose not in ("centre", self._turn) and self._degrees > 0:
            goal = 0.0  # through the middle first
        elif pose != "centre":
            self._turn = pose
        way = float(np.clip(goal - self._degrees, -SPEED * seconds, SPEED * seconds))
        self._degrees += way
        measured = self._measured[self._turn]
        assert measured[-1][0] > goal - 1, f"the head of this photo cannot turn far enough: {self._turn}"
        return min(measured, key=lambda seen: abs(seen[0] - self._degrees))[1]


def still(file: Path) -> Iterator[RGBImage]:
    """A photo that is held to the camera, moved and tilted as a whole."""
    photo = _in_camera(np.asarray(Image.open(file).convert("RGB")))
    tilts = path((0, 0), (40, 0), (-40, 0), (0, 0), step=2)
    moves = np.rint(8 * np.sin(np.arange(len(tilts)) / 5)).astype(int)
    moved = [np.roll(tilted(photo, tilt), move, axis=1) for tilt, move in zip(tilts, moves, strict=True)]
    return chain(repeat(photo, round(LEAD * A_SECOND)), moved, repeat(photo))


class FakeCamera:
    """The file that Chromium reads in place of a camera."""

    def __init__(self, file: Path) -> None:
        """Begin in the dark.

        Args:
            file: where; its name ends in `.y4m`.

        """
        self.file = file
        self._random = np.random.default_rng(1)
        self._noise = np.rint(self._random.normal(0, NOISE, 1_000_000)).astype(np.int16)
        self.show(repeat(np.zeros((HEIGHT, WIDTH, 3), np.uint8)))

    def show(self, pictures: Iterator[RGBImage], *, a_second: int = A_SECOND) -> None:
        """What it sees from the next time on that a page opens it.

        Args:
            pictures: as they follow each other, as many as there have to be or more; `WIDTH`×`HEIGHT`.
            a_second: how many of them; cameras give fewer in the dark.

        """
        self._write(
            (picture for picture, _ in zip(pictures, range(round(DURATION * A_SECOND)), strict=False)), a_second
        )

    def follow(self, head: Head, asked: Callable[[], Pose], until: Callable[[], bool]) -> None:
        """Let a head do what a page asks for.

        Args:
            head: in front of the camera.
            asked: where the page asks it to look now.
            until: whether it is over.

        """
        before = time.monotonic()
        with self.file.open("r+b", buffering=0) as file:
            while not until():
                pose, now = asked(), time.monotonic()
                # On a busy machine the head waits, rather than jump.
                picture = head.move(pose, min(now - before, LONGEST_STEP))
                before = now
                planes = _planes(picture)
                file.seek(len(_HEADER))
                file.write(b"".join(self._noisy(planes) for _ in range(RING)))

    def sit(self, head: Head) -> None:
        """Show a head that does not move yet, from the next time on that a page opens the camera."""
        head.look_ahead()
        self._write(repeat(head.photo, RING), A_SECOND)

    def _write(self, pictures: Iterable[RGBImage], a_second: int) -> None:
        made = self.file.with_suffix(".new")
        with made.open("wb") as file:
            file.write(_HEADER.replace(b"F20", b"F%02d" % a_second))
            file.writelines(map(self._frame, pictures))
        made.replace(self.file)  # an open camera goes on with the old one

    def _frame(self, picture: RGBImage) -> bytes:
        return self._noisy(_planes(picture))

    def _noisy(self, planes: Sequence[NDArray[np.uint8]]) -> bytes:
        """A frame of the file; noise takes long to make, so each frame has a piece of what there is."""
        brightness, *colours = planes
        begin = int(self._random.integers(self._noise.size - brightness.size))
        noise = self._noise[begin : begin + brightness.size].reshape(brightness.shape)
        brightness = np.clip(brightness + noise, 0, 255).astype(np.uint8)
        return b"FRAME\n" + b"".join(plane.tobytes() for plane in (brightness, *colours))


def _in_camera(photo: RGBImage) -> RGBImage:
    """The photo in the middle of the camera's picture; what it lacks is filled with its edge."""
    high, wide = (max(0, size - have) for size, have in zip((HEIGHT, WIDTH), photo.shape, strict=False))
    filled = np.pad(photo, ((high // 2, high - high // 2), (wide // 2, wide - wide // 2), (0, 0)), mode="edge")
    top, left = (filled.shape[0] - HEIGHT) // 2, (filled.shape[1] - WIDTH) // 2
    return filled[top : top + HEIGHT, left : left + WIDTH]


def _planes(picture: RGBImage) -> list[NDArray[np.uint8]]:
    """Brightness, and both colours at half the size: YCbCr 4:2:0."""
    y, *colours = Image.fromarray(picture).convert("YCbCr").split()
    return [np.asarray(y), *(np.asarray(colour.reduce(2)) for colour in colours)]
