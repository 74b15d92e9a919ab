"""Packs: folders of ONNX files, with one file for detection and one for recognition."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from pgface.errors import ModelError, ModelNotInstalledError, WeightsMismatchError
from pgface.faces.engines.normalisation import Normalisation
from pgface.faces.models.registry import file_sha256, weights_sha256
from pgface.system.extras import how_to_install

Task = Literal["detection", "recognition"]

_MANIFEST = "manifest.json"
_MANIFEST_VERSION = 2
_IN_THE_NETWORK = Normalisation(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Pack:
    """The two files of a pack that pgface uses. Others in its folder (age, gender, 3-D landmarks) are not loaded."""

    folder: Path
    detection: Path
    recognition: Path
    detection_input: Normalisation | None = None
    """The preparation of pictures that a manifest names. None for the usual one."""
    recognition_input: Normalisation | None = None
    manifest: bytes = b""
    """The content of InsightFace's manifest, if the folder has one."""

    def weights_sha256(self) -> str:
        """Return the `ModelIdentity.weights_sha256` of an engine with these files."""
        return weights_sha256(map(file_sha256, (self.detection, self.recognition)))


def find_pack(folder: Path) -> Pack:
    """Find the detection and the recognition model in a folder.

    Raises:
        ModelNotInstalledError: there is no such folder, or a package that reads the files is not installed.
        WeightsMismatchError: a file cannot be read as ONNX, or is not the one that the manifest names.
        ModelError: one of the two is missing, or there are several.

    """
    for package in ("onnx", "cv2"):
        try:
            import_module(package)
        except ImportError as error:
            raise ModelNotInstalledError(
                f"The package {package} cannot be imported. Install it with {how_to_install('insightface')}."
            ) from error
    if not folder.is_dir():
        raise ModelNotInstalledError(f"There is no folder {folder}. Give the folder of the model's ONNX files.")
    if (manifest := _read_manifest(folder)) is not None:
        return _described_pack(folder, manifest)
    tasks: dict[str, list[Path]] = {"detection": [], "recognition": [], "damaged": [], "other": []}
    for path in sorted(folder.glob("*.onnx")):
        tasks[_task(path)].append(path)
    if tasks["damaged"] and not (tasks["detection"] and tasks["recognition"]):
        names = ", ".join(path.name for path in tasks["damaged"])
        raise WeightsMismatchError(f"{names} in {folder} is not a complete ONNX file. Install the model again.")
    return Pack(
        folder, _only(tasks["detection"], "detection", folder), _only(tasks["recognition"], "recognition", folder)
    )


class _MeanAndDeviation(BaseModel):
    mean: Annotated[float, Field(allow_inf_nan=False)]
    std: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _DescribedModel(BaseModel):
    file: str
    sha256: str | None = None
    preprocessing: _MeanAndDeviation | Literal["embedded"] | None = None

    def path(self, folder: Path) -> Path:
        """Return the path of the file, which must be in the folder."""
        path = (folder / self.file).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise ValueError(self.file)
        return path

    @property
    def normalisation(self) -> Normalisation | None:
        """The preparation of pictures, if the manifest names one."""
        if isinstance(self.preprocessing, _MeanAndDeviation):
            return Normalisation(self.preprocessing.mean, self.preprocessing.std)
        return _IN_THE_NETWORK if self.preprocessing else None


class _DescribedModels(BaseModel):
    detection: _DescribedModel
    recognition: _DescribedModel


class _Manifest(BaseModel):
    """The fields of InsightFace's manifest, version 2, that pgface needs."""

    tasks: _DescribedModels


def _read_manifest(folder: Path) -> bytes | None:
    """Return the manifest of a folder, or None without one of version 2. Other versions do not name the files."""
    try:
        content = (folder / _MANIFEST).read_bytes()
        version = json.loads(content)["manifest_version"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return content if version == _MANIFEST_VERSION else None


def _described_pack(folder: Path, content: bytes) -> Pack:
    try:
        tasks = _Manifest.model_validate_json(content).tasks
        detection, recognition = tasks.detection.path(folder), tasks.recognition.path(folder)
    except (ValidationError, ValueError) as error:
        raise ModelError(
            f"The {_MANIFEST} in {folder} does not describe a detection and a recognition model."
        ) from error
    for described, path in ((tasks.detection, detection), (tasks.recognition, recognition)):
        if described.sha256 is not None and described.sha256 != file_sha256(path):
            raise WeightsMismatchError(
                f"{path.name} in {folder} is not the file that {_MANIFEST} names. Install the model again."
            )
    return Pack(folder, detection, recognition, tasks.detection.normalisation, tasks.recognition.normalisation, content)


def _only(paths: list[Path], task: Task, folder: Path) -> Path:
    if len(paths) == 1:
        return paths[0]
    if not paths:
        raise ModelError(
            f"{folder} contains no {task} model. A pack needs one ONNX file for detection and one for recognition."
        )
    names = ", ".join(path.name for path in paths)
    raise ModelError(f"{folder} contains several {task} models ({names}). Keep only the one that you want to use.")


def _task(path: Path) -> str:
    """Return InsightFace's task for a file, from the shapes of its inputs and outputs.

    InsightFace decides by the same shapes.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (DecodeError, OSError, ValueError):
        return "damaged"
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if not inputs or not graph.output:
        return "damaged"
    if len(graph.output) >= 5:
        return "detection"
    sides = [dimension.dim_value for dimension in inputs[0].type.tensor_type.shape.dim[2:]]
    # A side of 192 is for landmarks, and one of 96 for age and gender. Models that swap faces have two inputs.
    square = len(sides) == 2 and sides[0] == sides[1] and sides[0] >= 112 and sides[0] % 16 == 0
    return "recognition" if square and sides[0] != 192 and len(inputs) == len(graph.output) == 1 else "other"
