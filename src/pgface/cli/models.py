"""`pgface models`: the face models and liveness models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from pgface.cli.options import JsonOption
from pgface.cli.output import console, errors, print_json, print_table, say
from pgface.errors import ModelError, WeightsMismatchError
from pgface.faces.liveness.models import LIVENESS_MODELS, OWN, LivenessModel
from pgface.faces.models import install as installing
from pgface.faces.models.download import Progress as Report
from pgface.faces.models.registry import Model, ModelFile, Published, model_defaults
from pgface.settings import get_settings
from pgface.text import runs_on

app = typer.Typer()


@app.command("list")
def list_models(json: JsonOption = False) -> None:
    """List the models that pgface can install, and the packs that are installed."""
    statuses = installing.statuses(get_settings().models_dir)
    liveness = [status for status in statuses if status.name in {*LIVENESS_MODELS, OWN}]
    faces = [status for status in statuses if status not in liveness]
    runtimes, problem = _runtimes()
    if json:
        found = {"models": list(map(_to_json, faces)), "liveness_models": list(map(_to_json, liveness))}
        print_json(found | {"runtimes": runtimes, "runtimes_problem": problem})
        return
    columns = ("licence of the weights", "download", "here", "SHA-256")
    print_table(("name", "", *columns), [_row(status) for status in faces], empty="There are no models.")
    say(f"What runs the networks: {runs_on(runtimes)}." if runtimes else f"The networks cannot run. {problem}")
    console.print(
        f"A new gallery gets {get_settings().model}, unless you choose another model (`pgface init --model`).\n"
        f"Models are installed in {get_settings().models_dir}, one folder each. "
        "To use any other InsightFace pack, give the path of its folder as the model.\n\n"
        "Liveness models. Each login by face uses those that are installed:",
        markup=False,
    )
    rows = [(name, *rest) for name, _, *rest in map(_row, liveness)]
    print_table(("name", *columns), rows, empty="There are none.")


def _runtimes() -> tuple[dict[str, str] | None, str | None]:
    """Return what runs networks on this machine, or why they cannot run."""
    from pgface.faces.engines.onnx_runtime import execution_providers
    from pgface.faces.engines.runtimes import runtimes_of_networks

    try:
        return runtimes_of_networks(execution_providers(get_settings().execution_provider)), None
    except ModelError as error:
        return None, str(error)


@app.command()
def install(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")],
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="Confirm that you have read and accept the licence of the weights.")
    ] = False,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="PATH", help="Install from a zip, a folder or an ONNX file instead of the network."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Install again even if the model is installed and intact.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Download a model, or copy it from a zip or folder, and verify its hash."""
    models_dir = get_settings().models_dir
    with _download_bars() as show:
        status = installing.install(
            name, models_dir, accept_license=accept_license, source=source, force=force, progress=show
        )
    if json:
        print_json(_to_json(status))
        return
    say(f"{name} is installed in {status.folder}.")
    if status.model is None:
        say("Its hash is not published. `pgface models verify` will compare with the hash recorded now.")
    elif status.model.licence.note:
        say(f"Its licence: {status.model.licence.note}")


@app.command()
def verify(
    name: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="Name of the model. All installed models by default.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare the files of installed models with their hashes."""
    models_dir = get_settings().models_dir
    names = [name] if name else [status.name for status in installing.statuses(models_dir) if status.present]
    checks = {each: installing.verify(each, models_dir) for each in names}
    if json:
        print_json({"models": [_checks_to_json(each, found) for each, found in checks.items()]})
    else:
        every = [(each, check) for each, found in checks.items() for check in found]
        rows = [(each, check.file, check.state, (check.sha256 or "-")[:12]) for each, check in every]
        print_table(("model", "file", "state", "SHA-256"), rows, empty="No model is installed.")
    bad = [each for each, found in checks.items() if any(check.state in {"changed", "missing"} for check in found)]
    if bad:
        raise WeightsMismatchError(
            f"The files of {', '.join(bad)} are not the expected ones. Run `pgface models install NAME --force`."
        )


def _row(status: installing.Status) -> tuple[object, ...]:
    here = "yes" if status.present else "no"
    model = status.model
    if model is None:
        return status.name, None, "unknown", None, here, None
    kind = f"{model.dimension}-D" if isinstance(model, Model) else None
    size = f"{model.download_size / 1e6:.0f} MB" if model.downloads else "a package"
    return model.name, kind, model.licence.name, size, here, model.weights_sha256[:12]


def _to_json(status: installing.Status) -> dict[str, Any]:
    model = status.model
    folder = str(status.folder) if status.folder else None
    known: dict[str, Any] = {"name": status.name, "installed": status.present, "folder": folder}
    if isinstance(model, LivenessModel):
        known |= {"threshold": model.threshold.value, "threshold_source": model.threshold.source}
    elif status.name != OWN:
        thresholds = model_defaults(status.name)
        known |= {
            "verify_threshold": thresholds.verify_threshold,
            "identify_threshold": thresholds.identify_threshold,
            "thresholds_source": thresholds.source,
        }
    if isinstance(model, Model):
        known |= {
            "engine": model.engine,
            "dimension": model.dimension,
            "detector": model.detector,
            "recogniser": model.recogniser,
        }
    return known | {"in_registry": model is not None} | ({} if model is None else _publication_to_json(model))


def _publication_to_json(model: Published) -> dict[str, Any]:
    return {
        "licence": model.licence.name,
        "licence_url": model.licence.url,
        "licence_note": model.licence.note,
        "commercial_use": model.licence.commercial_use,
        "download_bytes": model.download_size,
        "weights_sha256": model.weights_sha256,
        "files": [{"name": file.name, "bytes": file.size, "sha256": file.sha256} for file in model.files],
        "downloads": [
            {"url": item.url, "bytes": item.file.size, "sha256": item.file.sha256} for item in model.downloads
        ],
    }


def _checks_to_json(name: str, checks: list[installing.FileCheck]) -> dict[str, Any]:
    return {
        "name": name,
        "whole": all(check.state in {"whole", "recorded"} for check in checks),
        "files": [{"name": check.file, "state": check.state, "sha256": check.sha256} for check in checks],
    }


@contextmanager
def _download_bars() -> Iterator[Report]:
    """Show a bar on the error stream for each file that is downloaded."""
    name = TextColumn("{task.description}", markup=False)
    bars = Progress(name, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(), console=errors)
    tasks: dict[str, TaskID] = {}

    def show(file: ModelFile, done: int) -> None:
        bars.start()
        if file.name not in tasks:
            tasks[file.name] = bars.add_task(file.name, total=file.size)
        bars.update(tasks[file.name], completed=done)

    try:
        yield show
    finally:
        if tasks:
            bars.stop()
