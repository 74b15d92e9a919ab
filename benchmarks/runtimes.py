"""The libraries that run the networks, and how a benchmark chooses between them."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Runtime:
    """A library that runs a model's networks."""

    name: str
    hidden: Path | None = None
    """A folder of modules that hide the installed libraries that pgface would prefer."""

    def hide(self) -> None:
        """Let this process use the library. Call it before an engine is loaded."""
        if self.hidden is not None:
            sys.path.insert(0, str(self.hidden))

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that let another process use the library."""
        return {} if self.hidden is None else {"PYTHONPATH": str(self.hidden)}


def runtimes_of(engine: str, scratch: Path) -> list[Runtime]:
    """List the installed libraries that can run an engine's networks.

    pgface prefers OpenVINO for all but dlib, if it can be imported.

    Args:
        engine: the name of the engine or of its model. Only that of dlib makes a difference.
        scratch: a folder for a module that hides OpenVINO.

    """
    if engine == "dlib":
        return [Runtime("dlib")]
    if importlib.util.find_spec("openvino") is None:
        return [Runtime("ONNX Runtime")]
    hidden = scratch / "without-openvino"
    hidden.mkdir(exist_ok=True)
    (hidden / "openvino.py").write_text("raise ModuleNotFoundError('hidden', name='openvino')\n")
    return [Runtime("ONNX Runtime", hidden), Runtime("OpenVINO")]
