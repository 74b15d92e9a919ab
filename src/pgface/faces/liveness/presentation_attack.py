"""Presentation attack detection (ISO/IEC 30107-1) by networks that look at single pictures.

Two kinds are known, by what goes in and what comes out:

- MiniFASNet (Minivision, Silent-Face-Anti-Spoofing): the face with its surroundings, cut out 2.7 or 4 times as large as
  its box, as 80x80 BGR values from 0 to 255; three classes come out, of which the second is the living face. The
  authors take the mean over their two networks.
- InsightFace's addon `liveness`: the face aligned by five landmarks to 80x80 RGB; the probability of a living face
  comes out. It is run by InsightFace's own code.

They see what a screen or paper adds to a picture: its edge, moire, flat light. They are an addition to the challenge
(`pgface.faces.liveness.head_turns`) and no proof.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pgface.errors import LivenessError, ModelError, WeightsMismatchError
from pgface.faces.engine import Box, Detection
from pgface.faces.engines.onnx import execution_providers, import_onnxruntime, provider_in_use, throughput_options
from pgface.faces.liveness.models import (
    INSIGHTFACE_THRESHOLD,
    LIVENESS_MODELS,
    MINIFASNET_THRESHOLD,
    OWN,
)
from pgface.faces.models.registry import file_sha256
from pgface.faces.pixels import RGBImage
from pgface.system.forks import call_after_fork, leave_to_parent

_SIDE: Final = 80
"""Pixels of either kind's square input."""
_LIVE: Final = 1
"""MiniFASNet's class of living faces; the others are attacks."""
_SCALE_FIRST: Final = re.compile(r"(\d+(?:\.\d+)?)_")
"""As the authors name their files: `2.7_80x80_MiniFASNetV2`, `4_0_0_80x80_MiniFASNetV1SE`."""
_SCALE_OF_KIND: Final = (("minifasnetv1se", 4.0), ("minifasnetv2", 2.7))

_Score = Callable[[RGBImage, Detection], float]


@dataclass(frozen=True, slots=True)
class AttackDetector:
    """Tells a living face from a picture of one. Safe to use from many threads."""

    name: str
    """The folder of its files."""
    threshold: float
    """The least score of a living face, as the authors have it."""
    networks: tuple[_Score, ...]

    def score(self, image: RGBImage, face: Detection) -> float:
        """How surely a face is alive, 0 to 1: the mean over the networks.

        Args:
            image: the whole upright picture: what is around the face says most.
            face: one of its faces.

        Raises:
            LivenessError: there is too little of the picture around the face to tell.
            ModelError: the network cannot be used with this face's landmarks, or gave no number.

        """
        return float(np.mean([network(image, face) for network in self.networks]))


def load_attack_detectors(models_dir: Path, *, execution_provider: str) -> list[AttackDetector]:
    """Every detector that is installed; none where there is no folder of one.

    Each is loaded once, and again when its files have changed.

    Args:
        models_dir: where installed models are, a folder each.
        execution_provider: as `pgface.faces.engines.onnx.execution_providers` takes it.

    Raises:
        ModelNotInstalledError: ONNX Runtime is missing.
        WeightsMismatchError: the files of a known model are not the published ones.
        ModelError: a file is not such a network.

    """
    found: list[AttackDetector] = []
    for folder in filter(Path.is_dir, (models_dir / name for name in (*LIVENESS_MODELS, OWN))):
        states = tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in sorted(folder.glob("*.onnx")))
        found += _load(folder, states, tuple(execution_providers(execution_provider)))
    return found


def require_detectors(folder: Path) -> None:
    """See that a folder holds networks for liveness, and no other ONNX files.

    Raises:
        ModelNotInstalledError: ONNX Runtime is missing.
        ModelError: it does not.

    """
    for _ in _detectors(folder, sorted(folder.glob("*.onnx")), execution_providers("CPU")):
        pass


def require_live(detector: AttackDetector, scores: list[float], threshold: float | None) -> None:
    """See that the mean over several pictures reaches the threshold.

    Args:
        detector: who gave the scores.
        scores: of the pictures; none is as good as a low one.
        threshold: the least mean; the detector's own if None.

    Raises:
        LivenessError: it does not; the sentence is for the audit log and not for the client.

    """
    least = detector.threshold if threshold is None else threshold
    mean = float(np.mean(scores)) if scores else 0.0
    if not mean >= least:
        raise LivenessError(f"{detector.name} takes it for a picture: {mean:.3f} over {len(scores)} frames.")


@lru_cache(maxsize=8)
def _load(
    folder: Path,
    states: tuple[tuple[Path, int, int], ...],
    providers: tuple[str, ...],
) -> tuple[AttackDetector, ...]:
    files = [file for file, *_ in states]
    known = LIVENESS_MODELS.get(folder.name)
    if known and {file.name: file.sha256 for file in known.files} != {file.name: file_sha256(file) for file in files}:
        raise WeightsMismatchError(
            f"The files in {folder} are not the published ones; run `pgface models install {folder.name} --force`."
        )
    return tuple(_detectors(folder, files, list(providers)))


@call_after_fork
def _forget_networks() -> None:
    """ONNX Runtime's sessions belong to the process that made them."""
    global _load
    leave_to_parent(_load)
    _load = lru_cache(maxsize=8)(_load.__wrapped__)


def _detectors(folder: Path, files: list[Path], providers: list[str]) -> Iterator[AttackDetector]:
    """MiniFASNet's networks together, because they are made to be; each addon by itself."""
    if not files:
        raise ModelError("A folder of networks for liveness holds no ONNX file; give one, or remove the folder.")
    together: list[_Score] = []
    for file in files:
        session = _session(file, providers)
        match _shape(session):
            case [3]:
                together.append(MiniFASNet(session, _scale(file), softmax=not _ends_in_softmax(file)).score)
            case []:
                addon = InsightFaceLiveness(file, session)
                yield AttackDetector(folder.name, INSIGHTFACE_THRESHOLD.value, (addon.score,))
            case _:
                raise ModelError(
                    f"{file.name} is neither MiniFASNet nor InsightFace's addon for liveness: those take one picture "
                    f"of 3x{_SIDE}x{_SIDE} float32 numbers, and give three numbers or one."
                )
    if together:
        yield AttackDetector(folder.name, MINIFASNET_THRESHOLD.value, tuple(together))


def _session(file: Path, providers: list[str]) -> Any:
    try:
        session = import_onnxruntime().InferenceSession(
            str(file), sess_options=throughput_options(), providers=providers
        )
    except ModelError:
        raise
    except Exception as error:  # the library raises a class of its own for each kind of damage
        raise ModelError(
            f"{file.name} cannot be loaded: it is damaged, or made for another version of ONNX Runtime."
        ) from error
    provider_in_use((session,), providers[0])
    return session


def _shape(session: Any) -> list[int] | None:
    """What comes out for one picture; None where this is no network for 80x80 pictures."""
    if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
        return None
    (given,), (told,) = session.get_inputs(), session.get_outputs()
    batch, *picture = given.shape or [0]
    if {given.type, told.type} != {"tensor(float)"} or picture != [3, _SIDE, _SIDE] or not told.shape:
        return None
    return None if isinstance(batch, int) and batch != 1 else list(told.shape[1:])


def _scale(file: Path) -> float:
    if (first := _SCALE_FIRST.match(file.name)) and float(first[1]) >= 1:
        return float(first[1])
    plain = re.sub(r"[^a-z0-9]", "", file.stem.lower())
    for kind, scale in _SCALE_OF_KIND:
        if kind in plain:
            return scale
    raise ModelError(
        f"The name {file.name} does not tell how much of the picture the network sees around a face; "
        f"begin it with that, as in 2.7_80x80_MiniFASNetV2.onnx."
    )


def _ends_in_softmax(file: Path) -> bool:
    """Whether probabilities come out: some have put the last step of it into the file."""
    import onnx

    graph = onnx.load(file).graph
    return any(node.op_type == "Softmax" for node in graph.node if graph.output[0].name in node.output)


class MiniFASNet:
    """One of Minivision's networks."""

    def __init__(self, session: Any, scale: float, *, softmax: bool) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        self._scale = scale
        self._softmax = softmax

    def score(self, image: RGBImage, face: Detection) -> float:
        """The probability of the class of living faces."""
        import cv2

        left, top, right, bottom = surroundings(face.box, self._scale, image.shape[1], image.shape[0])
        seen = cv2.resize(image[top : bottom + 1, left : right + 1], (_SIDE, _SIDE))
        bgr = seen[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32)
        (classes,) = self._session.run(None, {self._input: np.ascontiguousarray(bgr)})[0]
        probabilities = _softmax(classes) if self._softmax else classes
        if not np.isfinite(probabilities).all():
            raise ModelError("MiniFASNet gave no number; install it again.")
        return float(probabilities[_LIVE])


class InsightFaceLiveness:
    """InsightFace's addon."""

    def __init__(self, file: Path, session: Any) -> None:
        from insightface.addons import Liveness

        try:
            self._liveness = Liveness(file, session=session)
        except RuntimeError as error:
            raise ModelError(f"{file.name} is not InsightFace's addon for liveness.") from error

    def score(self, image: RGBImage, face: Detection) -> float:
        """The probability of a living face."""
        if not np.isfinite(face.landmarks).all():
            raise ModelError(
                "InsightFace's addon for liveness needs the corners of the mouth, which this gallery's model does not "
                "find; remove the addon's folder from the models, and install minifasnet instead."
            )
        try:
            told = self._liveness.predict(np.ascontiguousarray(image[:, :, ::-1]), face.landmarks)
        except RuntimeError as error:
            raise ModelError("InsightFace's addon for liveness gave no number; install it again.") from error
        if told["live_score"] is None:
            raise LivenessError("The face is too near to the edge of the picture to tell whether it is alive.")
        return float(told["live_score"])


def surroundings(box: Box, scale: float, width: int, height: int) -> tuple[int, int, int, int]:
    """The first and last column and row of what MiniFASNet sees of a face, as its authors cut it out.

    It is as many times as large as the box, about its middle; less where the picture is smaller than that, and moved
    where it would reach over an edge.

    Args:
        box: the face's.
        scale: how many times as large, 1 or more.
        width: of the picture, in pixels.
        height: of the picture, in pixels.

    Returns:
        Left, top, right and bottom, all within the picture.

    """
    scale = min(scale, (width - 1) / box.width, (height - 1) / box.height)
    left, right = _moved_inside(box.x + box.width / 2, box.width * scale, width)
    top, bottom = _moved_inside(box.y + box.height / 2, box.height * scale, height)
    return left, top, right, bottom


def _moved_inside(middle: float, length: float, size: int) -> tuple[int, int]:
    first = min(max(middle - length / 2, 0.0), size - 1 - length)
    return int(max(first, 0.0)), int(min(first + length, size - 1))


def _softmax(values: NDArray[np.float32]) -> NDArray[np.float64]:
    powers = np.exp(values.astype(np.float64) - values.max())
    return np.asarray(powers / powers.sum())
