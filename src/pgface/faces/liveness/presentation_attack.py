"""Presentation attack detection (ISO/IEC 30107-1) by networks that examine single pictures.

There are two kinds, which differ in their input and output:

- MiniFASNet (Minivision, Silent-Face-Anti-Spoofing). Input: the face with its surroundings, 2.7 or 4 times as large as
  its box, as 80x80 BGR values from 0 to 255. Output: three classes, of which the second is the living face. The authors
  take the mean over their two networks.
- InsightFace's addon `liveness`. Input: the face, aligned by five landmarks to 80x80 RGB. Output: the probability of a
  living face. The package insightface runs it.

They detect what a screen or paper adds to a picture: its edge, moire, flat light. They add to the challenge
(`pgface.faces.liveness.head_turns`), but they prove nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pgface.errors import LivenessError, ModelError, ModelNotInstalledError, WeightsMismatchError
from pgface.faces.engines.base import Box, Detection
from pgface.faces.engines.loaded import LoadedModels
from pgface.faces.engines.onnx_runtime import execution_providers, open_session
from pgface.faces.engines.providers import Provider
from pgface.faces.liveness.models import INSIGHTFACE_THRESHOLD, LIVENESS_MODELS, MINIFASNET_THRESHOLD, OWN
from pgface.faces.models.registry import file_sha256
from pgface.faces.pixels import RGBImage

_INPUT_SIDE: Final = 80
"""Side of the square input of both kinds, in pixels."""
_LIVE_CLASS: Final = 1
"""MiniFASNet's class of living faces. The other classes are attacks."""
_SCALE_IN_NAME: Final = re.compile(r"(\d+(?:\.\d+)?)_")
"""The start of the authors' file names: `2.7_80x80_MiniFASNetV2`, `4_0_0_80x80_MiniFASNetV1SE`."""
_DEFAULT_SCALES: Final = (("minifasnetv1se", 4.0), ("minifasnetv2", 2.7))

_Score = Callable[[RGBImage, Detection], float]


@dataclass(frozen=True, slots=True)
class AttackDetector:
    """Distinguishes a living face from a picture of one. You can use it from many threads."""

    name: str
    """The name of the folder of its files."""
    threshold: float
    """The authors' minimum score of a living face."""
    networks: tuple[_Score, ...]

    def score(self, image: RGBImage, face: Detection) -> float:
        """Return the score of a living face, 0 to 1: the mean over the networks.

        Args:
            image: the whole upright picture, because the surroundings of the face reveal most.
            face: one of its faces.

        Raises:
            LivenessError: there is too little of the picture around the face.
            ModelError: the network cannot use this face's landmarks, or its output is not a number.

        """
        return float(np.mean([network(image, face) for network in self.networks]))


def load_attack_detectors(models_dir: Path, *, execution_provider: str) -> list[AttackDetector]:
    """Return every installed detector. A detector is loaded once, and again if its files have changed.

    Args:
        models_dir: the models folder. It contains one folder for each installed model.
        execution_provider: the argument of `pgface.faces.engines.onnx_runtime.execution_providers`.

    Raises:
        ModelNotInstalledError: ONNX Runtime is missing, or the package insightface for its addon.
        WeightsMismatchError: the files of a model of the registry are not the published ones.
        ModelError: a file is not a network of one of the two kinds.

    """
    found: list[AttackDetector] = []
    for folder in filter(Path.is_dir, (models_dir / name for name in (*LIVENESS_MODELS, OWN))):
        files, providers = sorted(folder.glob("*.onnx")), execution_providers(execution_provider)
        states = tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
        found += _loaded.get((folder, states, repr(providers)), partial(_load, folder, files, providers))
    return found


def require_detectors(folder: Path) -> None:
    """Check that a folder contains networks for liveness, and no other ONNX files.

    Raises:
        ModelNotInstalledError: ONNX Runtime is missing, or the package insightface for its addon.
        ModelError: the folder contains no such networks, or other files.

    """
    list(_detectors(folder, sorted(folder.glob("*.onnx")), execution_providers("CPU")))


def require_live(detector: AttackDetector, scores: list[float], threshold: float | None) -> None:
    """Check that the mean over several pictures reaches the threshold.

    Args:
        detector: the detector that gave the scores.
        scores: the scores of the pictures. An empty list fails like low scores.
        threshold: the minimum mean. None for the detector's own.

    Raises:
        LivenessError: the mean is lower. The message is for the audit log, not for the client.

    """
    min_mean = detector.threshold if threshold is None else threshold
    mean = float(np.mean(scores)) if scores else 0.0
    if not mean >= min_mean:
        raise LivenessError(f"{detector.name} classifies the face as a picture: {mean:.3f} over {len(scores)} frames.")


_loaded = LoadedModels[list[AttackDetector]]()


def _load(folder: Path, files: list[Path], providers: list[Provider]) -> list[AttackDetector]:
    model = LIVENESS_MODELS.get(folder.name)
    if model and {file.name: file.sha256 for file in model.files} != {file.name: file_sha256(file) for file in files}:
        raise WeightsMismatchError(
            f"The files in {folder} are not the published ones. Run `pgface models install {folder.name} --force`."
        )
    return list(_detectors(folder, files, providers))


def _detectors(folder: Path, files: list[Path], providers: list[Provider]) -> Iterator[AttackDetector]:
    """Load the networks. Those of MiniFASNet are one detector, because their authors combine them."""
    if not files:
        raise ModelError("A folder of networks for liveness contains no ONNX file. Give one, or delete the folder.")
    minifasnets: list[_Score] = []
    for file in files:
        session = open_session(file.name, file, providers)
        match _shape(session):
            case [3]:
                minifasnets.append(_minifasnet(session, _scale(file), softmax=not _ends_in_softmax(file)))
            case []:
                yield AttackDetector(folder.name, INSIGHTFACE_THRESHOLD.value, (_insightface_addon(file, session),))
            case _:
                raise ModelError(
                    f"{file.name} is neither MiniFASNet nor InsightFace's addon for liveness. Those take one picture "
                    f"of 3x{_INPUT_SIDE}x{_INPUT_SIDE} float32 numbers, and return three numbers or one."
                )
    if minifasnets:
        yield AttackDetector(folder.name, MINIFASNET_THRESHOLD.value, tuple(minifasnets))


def _shape(session: Any) -> list[int] | None:
    """Return the number of outputs for one picture. None if this is not a network for 80x80 pictures."""
    if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
        return None
    (input_,), (output,) = session.get_inputs(), session.get_outputs()
    batch, *picture = input_.shape or [0]
    if {input_.type, output.type} != {"tensor(float)"} or picture != [3, _INPUT_SIDE, _INPUT_SIDE] or not output.shape:
        return None
    return None if isinstance(batch, int) and batch != 1 else list(output.shape[1:])


def _scale(file: Path) -> float:
    if (first := _SCALE_IN_NAME.match(file.name)) and float(first[1]) >= 1:
        return float(first[1])
    plain = re.sub(r"[^a-z0-9]", "", file.stem.lower())
    for kind, scale in _DEFAULT_SCALES:
        if kind in plain:
            return scale
    raise ModelError(
        f"The name {file.name} does not say how much of the picture around a face the network needs. "
        f"Start the name with this factor, as in 2.7_80x80_MiniFASNetV2.onnx."
    )


def _ends_in_softmax(file: Path) -> bool:
    """Whether the output is probabilities, because the file contains the last step of the network."""
    import onnx

    graph = onnx.load(file).graph
    return any(node.op_type == "Softmax" for node in graph.node if graph.output[0].name in node.output)


def _minifasnet(session: Any, scale: float, *, softmax: bool) -> _Score:
    """Return the function that scores a face with one of Minivision's networks."""
    name = session.get_inputs()[0].name

    def score(image: RGBImage, face: Detection) -> float:
        import cv2

        left, top, right, bottom = surroundings(face.box, scale, image.shape[1], image.shape[0])
        region = cv2.resize(image[top : bottom + 1, left : right + 1], (_INPUT_SIDE, _INPUT_SIDE))
        bgr = region[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32)
        (classes,) = session.run(None, {name: np.ascontiguousarray(bgr)})[0]
        probabilities = _softmax(classes) if softmax else classes
        if not np.isfinite(probabilities).all():
            raise ModelError("MiniFASNet returned no number. Install it again.")
        return float(probabilities[_LIVE_CLASS])

    return score


def _insightface_addon(file: Path, session: Any) -> _Score:
    """Return the function that scores a face with InsightFace's addon."""
    try:
        from insightface.addons import Liveness
    except ImportError as error:
        raise ModelNotInstalledError(
            "InsightFace's addon for liveness needs the package insightface. Run `pip install insightface`, "
            "or install minifasnet instead."
        ) from error
    try:
        liveness = Liveness(file, session=session)
    except RuntimeError as error:
        raise ModelError(f"{file.name} is not InsightFace's addon for liveness.") from error

    def score(image: RGBImage, face: Detection) -> float:
        if not np.isfinite(face.landmarks).all():
            raise ModelError(
                "InsightFace's addon for liveness needs the corners of the mouth, which this gallery's model does not "
                "find. Delete the addon's folder from the models folder, and install minifasnet instead."
            )
        try:
            result = liveness.predict(np.ascontiguousarray(image[:, :, ::-1]), face.landmarks)
        except RuntimeError as error:
            raise ModelError("InsightFace's addon for liveness returned no number. Install it again.") from error
        if result["live_score"] is None:
            raise LivenessError("The face is too near to the edge of the picture to tell whether it is alive.")
        return float(result["live_score"])

    return score


def surroundings(box: Box, scale: float, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the region of a face that MiniFASNet gets, as its authors crop it: left, top, right and bottom, inclusive.

    The region is `scale` times (1 or more) as large as the box, with the same centre. It is smaller if the picture is,
    and moved if it would cross an edge.

    Args:
        box: the box of the face.
        scale: the factor.
        width: the width of the picture, in pixels.
        height: the height of the picture, in pixels.

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
