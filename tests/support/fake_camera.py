"""A fake camera for Chromium: a video file of a head that turns, or of a photo. It is made of real photos.

Chromium opens the file each time a page opens the camera, and reads its frames in a loop
(media/capture/video/file_video_capture_device.cc). It reads each frame when it is due. So a test can overwrite frames
meanwhile, and let a head turn as the page requires.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgface.faces.engines.base import Face
from pgface.faces.liveness.head_turns import Pose, Turn
from pgface.faces.pixels import RGBImage
from support.moving_heads import STATIONS, path, tilted, turned

WIDTH, HEIGHT = 320, 240
LOOP_FRAMES = 40
"""Frames of a video that is overwritten continuously: two seconds, in which no frame repeats."""
FRAMES_PER_SECOND = 20
"""Twice as many as a page needs, so that a page that misses a frame loses only 50 ms."""
LEAD = 2.0
"""Seconds at the start in which the head looks straight ahead, while the page prepares."""
DURATION = 20.0
"""Seconds until the video repeats. No page records for so long."""
ASIDE = 26.0
"""Degrees of a turn to a side, as pgface measures it. pgface requires 18."""
UPWARDS = 18.0
"""Degrees of a look up. pgface requires 14."""
STEP = 5.0
"""Degrees for each picture that a page takes. pgface refuses a head that turns 15 degrees between two pictures."""
NOISE = 3.0
"""Standard deviation of the brightness of each pixel. A real camera never gives the same picture twice."""


_HEADER = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FRAMES_PER_SECOND}:1 Ip C420jpeg\n".encode()


class Head:
    """A head in front of the camera, made of a photo of one person."""

    def __init__(self, faces: Callable[[RGBImage], Sequence[Face]], file: Path) -> None:
        """Turn the head of the photo to all sides, and measure each pose as pgface does.

        Args:
            faces: finds the faces of a picture.
            file: the photo.

        """
        self.photo = _in_camera(np.asarray(Image.open(file).convert("RGB")))
        (face,) = faces(self.photo)

        def measured(turn: Turn) -> list[tuple[float, RGBImage]]:
            """Return the poses from straight ahead to a side: degrees, as pgface measures them, and pictures."""
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
        """Turn back immediately."""
        self._degrees = 0.0

    def move(self, pose: Pose, degrees: float) -> RGBImage:
        """Turn towards a pose by some degrees, and return the picture that the camera then sees."""
        goal = 0.0 if pose == "centre" else UPWARDS if pose == "up" else ASIDE
        if pose not in ("centre", self._turn) and self._degrees > 0:
            goal = 0.0  # turn back to the middle first
        elif pose != "centre":
            self._turn = pose
        self._degrees += float(np.clip(goal - self._degrees, -degrees, degrees))
        measured = self._measured[self._turn]
        assert measured[-1][0] > goal - 1, f"the head of this photo cannot turn far enough: {self._turn}"
        return min(measured, key=lambda seen: abs(seen[0] - self._degrees))[1]


def still(file: Path) -> Iterator[RGBImage]:
    """Yield pictures of a photo that is held in front of the camera, moved and tilted."""
    photo = _in_camera(np.asarray(Image.open(file).convert("RGB")))
    tilts = path((0, 0), (40, 0), (-40, 0), (0, 0), step=2)
    moves = np.rint(8 * np.sin(np.arange(len(tilts)) / 5)).astype(int)
    moved = [np.roll(tilted(photo, tilt), move, axis=1) for tilt, move in zip(tilts, moves, strict=True)]
    return chain(repeat(photo, round(LEAD * FRAMES_PER_SECOND)), moved, repeat(photo))


class FakeCamera:
    """The video file that Chromium reads in place of a camera."""

    def __init__(self, file: Path) -> None:
        """Start with dark pictures.

        Args:
            file: the path of the video. Its name ends in `.y4m`.

        """
        self.file = file
        self._random = np.random.default_rng(1)
        self._noise = np.rint(self._random.normal(0, NOISE, 1_000_000)).astype(np.int16)
        self.show(repeat(np.zeros((HEIGHT, WIDTH, 3), np.uint8)))

    def show(self, pictures: Iterator[RGBImage], *, a_second: int = FRAMES_PER_SECOND) -> None:
        """Show pictures, from the next time that a page opens the camera.

        Args:
            pictures: pictures of `WIDTH`×`HEIGHT` in their order, at least as many as the video needs.
            a_second: pictures a second. Cameras take fewer in the dark.

        """
        self._write(islice(pictures, round(DURATION * FRAMES_PER_SECOND)), a_second)

    def follow(self, head: Head, required: Callable[[], tuple[Pose, int]], until: Callable[[], bool]) -> None:
        """Let a head turn as a page requires.

        The head turns only when the page has taken a picture. So it does not jump on a busy machine, whose pages take
        fewer pictures a second. Between the pictures, this waits and leaves the processor to the page.

        Args:
            head: the head in front of the camera.
            required: returns the pose that the page requires now, and how many pictures it has taken.
            until: returns whether the login has ended.

        """
        before, written = -1, 0.0
        with self.file.open("r+b", buffering=0) as file:
            while not until():
                pose, taken = required()
                if taken == before and time.monotonic() < written + LOOP_FRAMES / FRAMES_PER_SECOND / 2:
                    time.sleep(0.5 / FRAMES_PER_SECOND)
                    continue
                planes = _planes(head.move(pose, STEP if taken > max(before, 0) else 0))
                before, written = taken, time.monotonic()
                file.seek(len(_HEADER))
                file.write(b"".join(self._noisy(planes) for _ in range(LOOP_FRAMES)))

    def sit(self, head: Head) -> None:
        """Show a head that does not move, from the next time that a page opens the camera."""
        head.look_ahead()
        self._write(repeat(head.photo, LOOP_FRAMES), FRAMES_PER_SECOND)

    def _write(self, pictures: Iterable[RGBImage], a_second: int) -> None:
        made = self.file.with_suffix(".new")
        with made.open("wb") as file:
            file.write(_HEADER.replace(b"F20", b"F%02d" % a_second))
            file.writelines(map(self._frame, pictures))
        made.replace(self.file)  # an open camera continues with the old file

    def _frame(self, picture: RGBImage) -> bytes:
        return self._noisy(_planes(picture))

    def _noisy(self, planes: Sequence[NDArray[np.uint8]]) -> bytes:
        """Make a frame of the file. New noise takes long, so each frame gets a random part of the same noise."""
        brightness, *colours = planes
        begin = int(self._random.integers(self._noise.size - brightness.size))
        noise = self._noise[begin : begin + brightness.size].reshape(brightness.shape)
        brightness = np.clip(brightness + noise, 0, 255).astype(np.uint8)
        return b"FRAME\n" + b"".join(plane.tobytes() for plane in (brightness, *colours))


def _in_camera(photo: RGBImage) -> RGBImage:
    """Put a photo into the middle of the camera's picture. Its edge fills the rest."""
    high, wide = (max(0, size - have) for size, have in zip((HEIGHT, WIDTH), photo.shape, strict=False))
    filled = np.pad(photo, ((high // 2, high - high // 2), (wide // 2, wide - wide // 2), (0, 0)), mode="edge")
    top, left = (filled.shape[0] - HEIGHT) // 2, (filled.shape[1] - WIDTH) // 2
    return filled[top : top + HEIGHT, left : left + WIDTH]


def _planes(picture: RGBImage) -> list[NDArray[np.uint8]]:
    """Return the brightness, and both colours at half the size (YCbCr 4:2:0)."""
    y, *colours = Image.fromarray(picture).convert("YCbCr").split()
    return [np.asarray(y), *(np.asarray(colour.reduce(2)) for colour in colours)]
