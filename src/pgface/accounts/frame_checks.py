"""Checks the camera's frames of a challenge. A login by face and a liveness session both use them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from psycopg.rows import scalar_row

from pgface.accounts.used_frames import FrameDigests
from pgface.errors import LivenessError
from pgface.faces.engines.base import Detection, Face
from pgface.faces.face_choice import BYSTANDER, without_bystanders
from pgface.faces.liveness.head_turns import HeadTurns
from pgface.faces.liveness.presentation_attack import AttackDetector, load_attack_detectors
from pgface.faces.photo import PhotoLimits, PhotoSource, open_photo
from pgface.faces.pixels import RGBImage
from pgface.gallery import Gallery
from pgface.settings import Settings

MAX_FRAMES: Final = 20
"""The maximum number of frames in a request: two seconds."""
MAX_FRAME_BYTES: Final = 500_000
MAX_FRAME_PIXELS: Final = 1_000_000
_SECRET_NAME: Final = "frames"  # noqa: S105 - the name of a secret

OnFrontal = Callable[[RGBImage, Face], None]
"""What happens with a frame that completes a look straight ahead."""


@dataclass(slots=True, kw_only=True)
class CheckedFrames:
    """What is known from the frames so far. You can store it between two requests."""

    head: HeadTurns
    model_changes: int
    """`GalleryConfig.model_changes` at the start. All frames are of the same model."""
    digests: list[tuple[int, ...]] = field(default_factory=list)
    """The digests of each frame so far."""
    scores: dict[str, list[float]] = field(default_factory=dict)
    """The scores of each network against presentation attacks, one for each frame that it scored."""

    def add(self, digests: tuple[int, ...]) -> None:
        """Add the digests of the next frame.

        Raises:
            LivenessError: the frame was sent before.

        """
        if any(digests[0] == earlier[0] for earlier in self.digests):
            raise LivenessError(f"Frame {self.head.frames} is sent more than once.")
        self.digests.append(digests)

    def to_bytes(self) -> bytes:
        """Return JSON for `values_of`."""
        return json.dumps({one.name: getattr(self, one.name) for one in fields(self)} | self._json()).encode()

    def _json(self) -> dict[str, Any]:
        """Return the fields that `json.dumps` does not accept as they are."""
        return {"head": self.head.to_json()}

    @staticmethod
    def values_of(data: bytes) -> dict[str, Any]:
        """Restore the fields from the output of `to_bytes`."""
        values: dict[str, Any] = json.loads(data)
        digests = [tuple(frame) for frame in values["digests"]]
        return values | {"head": HeadTurns.from_json(values["head"]), "digests": digests}


class FrameChecker:
    """Checks frames with the model of a gallery and the installed networks against presentation attacks."""

    def __init__(self, gallery: Gallery) -> None:
        """Check frames for this gallery."""
        self._gallery = gallery

    def check(self, run: CheckedFrames, frames: Sequence[PhotoSource], on_frontal: OnFrontal | None = None) -> None:
        """Check the next frames.

        Args:
            run: what is known so far. It is changed.
            frames: the frames since the last call, at most 20, in order, about ten a second, not mirrored.
            on_frontal: is called with each frame that completes a look straight ahead.

        Raises:
            LivenessError: a frame is wrong. The message is for the audit log and not for the client.
            PhotoError: a frame cannot be read.
            ModelError: an installed network cannot be used.

        """
        if not 1 <= len(frames) <= MAX_FRAMES:  # before they cost time
            raise LivenessError(f"A request has {len(frames)} frames and not 1 to {MAX_FRAMES}.")
        digests = FrameDigests(self._secret())
        limits = PhotoLimits(MAX_FRAME_BYTES, MAX_FRAME_PIXELS, self._gallery.settings.max_decoded_bytes)
        for frame in frames:
            with open_photo(frame, limits) as photo:
                (face,) = self._gallery.engine.detect_and_embed(photo.picture, _only_face, overlook=BYSTANDER)
                completes = run.head.see(face)
                run.add(digests.of(photo.pixels, face.embedding))
                if completes:
                    self._score(run, photo.pixels, face)
                    if on_frontal is not None:
                        on_frontal(photo.pixels, face)
        run.head.end_step()

    def networks(self) -> list[tuple[str, AttackDetector]]:
        """List the installed networks, with the keys of their scores. A folder may contain several networks."""
        detectors = installed_networks(self._gallery.settings)
        return [(f"{detector.name} {number}", detector) for number, detector in enumerate(detectors)]

    def _score(self, run: CheckedFrames, pixels: RGBImage, face: Face) -> None:
        for key, detector in self.networks():
            run.scores.setdefault(key, []).append(detector.score(pixels, face))

    def _secret(self) -> str:
        name, database = {"name": _SECRET_NAME}, self._gallery.database
        if not (found := database.read("select_secret", name, row_factory=scalar_row)):
            database.execute("keep_secret", name | {"secret": secrets.token_hex(32)})
            # Read again, because another process may have stored another secret first.
            found = database.read("select_secret", name, row_factory=scalar_row)
        return str(found[0])


def installed_networks(settings: Settings) -> list[AttackDetector]:
    """Return the installed networks against presentation attacks."""
    return load_attack_detectors(settings.models_dir, execution_provider=settings.execution_provider)


def _only_face(found: Sequence[Detection]) -> Sequence[Detection]:
    """Require a single face before the embedding, because embedding hundreds of faces would take long."""
    faces = without_bystanders(found)
    if len(faces) != 1:
        raise LivenessError(f"A frame shows {len(faces)} faces and not one.")
    return faces
