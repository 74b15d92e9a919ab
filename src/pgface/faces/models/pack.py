"""Packs: folders of ONNX files, with one file for detection and one for recognition."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pgface.errors import ModelError, ModelNotInstalledError, WeightsMismatchError
from pgface.faces.models.registry import file_sha256, weights_sha256
from pgface.system.extras import how_to_install

Task = Literal["detection", "recognition"]


@dataclass(frozen=True, slots=True)
class Pack:
    """The two files of a pack that pgface uses. Others in its folder (age, gender, 3-D landmarks) are not loaded."""

    folder: Path
    detection: Path
    recognition: Path
    described: bool = False
    """Whether InsightFace's manifest names the files and the preparation of their input."""

    def weights_sha256(self) -> str:
        """Return the `ModelIdentity.weights_sha256` of an engine with these files."""
        return weights_sha256(map(file_sha256, (self.detection, self.recognition)))

    def load(self, task: Task, **session: Any) -> Any:
        """Load one of the models with InsightFace.

        Args:
            task: the task of the model.
            session: the options `providers` and `sess_options` of ONNX Runtime.

        Raises:
            ModelError: the model cannot be loaded.

        """
        path: Path = getattr(self, task)
        arguments = {"name": str(self.folder), "model_task": task} if self.described else {"name": str(path)}
        try:
            model = import_model_zoo().get_model(**arguments, **session)
        except ModelError:
            raise
        except Exception as error:  # the libraries raise a different class for each kind of damage
            raise ModelError(
                f"{path.name} in {self.folder} cannot be loaded: it is damaged, or made for another version of "
                "ONNX Runtime. Install the model again."
            ) from error
        if getattr(model, "taskname", None) != task:
            raise ModelError(f"{path.name} in {self.folder} is not a model that InsightFace uses for {task}.")
        return model


def import_model_zoo() -> Any:
    """Import InsightFace's model loader.

    Raises:
        ModelNotInstalledError: InsightFace or ONNX Runtime is not installed, or cannot be loaded.

    """
    try:
        from insightface import model_zoo
    except ImportError as error:
        raise ModelNotInstalledError(
            f"InsightFace cannot be imported. Install it with {how_to_install('insightface')}."
        ) from error
    return model_zoo


def find_pack(folder: Path) -> Pack:
    """Find the detection and the recognition model in a folder.

    Raises:
        ModelNotInstalledError: there is no such folder, or InsightFace is not installed.
        WeightsMismatchError: a file cannot be read as ONNX.
        ModelError: one of the two is missing, or there are several.

    """
    model_zoo = import_model_zoo()
    if not folder.is_dir():
        raise ModelNotInstalledError(f"There is no folder {folder}. Give the folder of the model's ONNX files.")
    if model_zoo.has_model_package_manifest(folder):
        return _described_pack(model_zoo, folder)
    tasks: dict[str, list[Path]] = {"detection": [], "recognition": [], "damaged": [], "other": []}
    for path in sorted(folder.glob("*.onnx")):
        tasks[_task(path)].append(path)
    if tasks["damaged"] and not (tasks["detection"] and tasks["recognition"]):
        names = ", ".join(path.name for path in tasks["damaged"])
        raise WeightsMismatchError(f"{names} in {folder} is not a complete ONNX file. Install the model again.")
    return Pack(
        folder, _only(tasks["detection"], "detection", folder), _only(tasks["recognition"], "recognition", folder)
    )


def _described_pack(model_zoo: Any, folder: Path) -> Pack:
    try:
        package = model_zoo.load_model_package(folder)
        detection, recognition = (package.task(task).path for task in ("detection", "recognition"))
    except (OSError, TypeError, ValueError) as error:
        raise ModelError(
            f"The manifest.json in {folder} does not describe a detection and a recognition model."
        ) from error
    return Pack(folder, detection, recognition, described=True)


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

    InsightFace's own routing does the same, but it builds a session first. That of a 3-D landmark model is ten times as
    large as the detector's.
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
