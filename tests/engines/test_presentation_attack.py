"""Networks for liveness: their input, their scores, and files that are refused."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pgface.errors import LicenseNotAcceptedError, LivenessError, ModelError, WeightsMismatchError
from pgface.faces.engines.base import Box, Detection, RawDetection
from pgface.faces.liveness import models as liveness_models
from pgface.faces.liveness.models import LIVENESS_MODELS, OWN
from pgface.faces.liveness.presentation_attack import AttackDetector, load_attack_detectors, require_live, surroundings
from pgface.faces.models.install import install, status, statuses, verify
from pgface.faces.models.registry import ModelFile, file_sha256
from pgface.faces.pixels import RGBImage
from pgface.faces.quality import describe
from support.liveness_networks import save_addon, save_constant_minifasnet, save_minifasnet
from support.sentences import accounts as says
from support.sentences import models as models_say

MARKS = np.array([[90, 100], [130, 100], [110, 120], [95, 140], [125, 140]], np.float32)
BOX = Box(80, 70, 60, 90)


def face(image: RGBImage, box: Box = BOX, landmarks: NDArray[np.float32] = MARKS) -> Detection:
    (found,) = describe(image, [RawDetection(box, landmarks, 0.9)])
    return found


def picture_of(*colour: int) -> RGBImage:
    return np.full((240, 240, 3), colour, np.uint8)


def load_detectors(models_dir: Path) -> list[AttackDetector]:
    return load_attack_detectors(models_dir, execution_provider="CPU")


def load_detector(models_dir: Path) -> AttackDetector:
    (detector,) = load_detectors(models_dir)
    return detector


def second_of(*classes: float) -> float:
    """Return the second value of the softmax."""
    return math.exp(classes[1]) / sum(map(math.exp, classes))


def test_no_network_is_installed(tmp_path: Path) -> None:
    assert load_detectors(tmp_path) == []
    assert load_detectors(tmp_path / "nowhere") == []


def test_the_channels_are_blue_green_red_from_0_to_255(tmp_path: Path) -> None:
    # The bias of the first class distinguishes blue from red.
    save_minifasnet(tmp_path / OWN / "2.7_80x80_MiniFASNetV2.onnx", weight=1 / 100, bias=(1, 0, 0))
    for red, green, blue in ((10, 250, 90), (10, 90, 250), (250, 90, 10)):
        image = picture_of(red, green, blue)
        expected = second_of(1 + blue / 100, green / 100, red / 100)
        assert load_detector(tmp_path).score(image, face(image)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("box", "scale", "expected"),
    [
        ((80, 70, 60, 90), 2.0, (50, 25, 170, 205)),
        ((80, 70, 60, 90), 2.6, (32, 0, 188, 234)),  # moved down by 2
        ((10, 150, 60, 80), 2.5, (0, 39, 150, 239)),  # moved right and up
        ((190, 10, 60, 80), 2.5, (89, 0, 239, 200)),  # a box that reaches over the edge
        ((80, 70, 60, 90), 4.0, (30, 0, 189, 239)),  # no larger than the picture: 239 / 90 times
        ((-40, -60, 480, 360), 4.0, (0, 30, 239, 209)),  # a box that is larger than the picture
    ],
)
def test_the_region_around_a_face(
    tmp_path: Path, box: tuple[int, int, int, int], scale: float, expected: tuple[int, int, int, int]
) -> None:
    assert surroundings(Box(*box), scale, 240, 240) == expected
    # The picture contains the numbers of its columns and rows, and the network returns their means.
    columns, rows = np.meshgrid(np.arange(240), np.arange(240))
    image = np.stack([np.zeros_like(columns), rows, columns], axis=2).astype(np.uint8)
    save_minifasnet(tmp_path / OWN / f"{scale}_80x80_MiniFASNetV2.onnx", weight=1 / 50)
    left, top, right, bottom = expected
    means = ((left + right) / 2 / 50, (top + bottom) / 2 / 50, 0)
    assert load_detector(tmp_path).score(image, face(image, Box(*box))) == pytest.approx(second_of(*means), abs=5e-3)


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("2.7_80x80_MiniFASNetV2", 2.7),
        ("4_0_0_80x80_MiniFASNetV1SE", 4.0),
        ("MiniFASNetV2", 2.7),
        ("minifasnet_v1se", 4.0),
        ("1_80x80", 1.0),
    ],
)
def test_the_name_contains_the_scale(tmp_path: Path, name: str, scale: float) -> None:
    save_minifasnet(tmp_path / OWN / f"{name}.onnx", weight=1 / 50)
    columns = np.broadcast_to(np.arange(240, dtype=np.uint8)[None, :, None], (240, 240, 3))
    inside = (columns > 110 - 10 * scale) & (columns < 110 + 10 * scale)
    image = np.where(inside, [200, 100, 50], 0).astype(np.uint8)
    box = Box(100, 90, 20, 20)
    seen = load_detector(tmp_path).score(image, face(image, box))
    assert seen == pytest.approx(second_of(1, 2, 4), abs=0.02)
    wider = np.where((columns > 110 - 5 * scale) & (columns < 110 + 5 * scale), [200, 100, 50], 0).astype(np.uint8)
    assert load_detector(tmp_path).score(wider, face(wider, box)) == pytest.approx(second_of(0.5, 1, 2), abs=0.02)


def test_a_softmax_in_the_file_is_not_repeated(tmp_path: Path) -> None:
    save_minifasnet(tmp_path / OWN / "minifasnet_v2.onnx", weight=0, bias=(0, 3, 0), softmax=True)
    image = picture_of(0, 0, 0)
    assert load_detector(tmp_path).score(image, face(image)) == pytest.approx(second_of(0, 3, 0), abs=1e-6)


def test_the_score_of_two_networks_is_their_mean(tmp_path: Path) -> None:
    save_constant_minifasnet(tmp_path / OWN / "2.7_80x80_MiniFASNetV2.onnx", 0, 5, 0)
    save_constant_minifasnet(tmp_path / OWN / "4_0_0_80x80_MiniFASNetV1SE.onnx", 0, 1, 0)
    image = picture_of(0, 0, 0)
    detector = load_detector(tmp_path)
    mean = (second_of(0, 5, 0) + second_of(0, 1, 0)) / 2
    assert detector.score(image, face(image)) == pytest.approx(mean, abs=1e-6)
    assert (detector.name, detector.threshold) == ("liveness", 0.915)


def test_the_addon_gets_an_aligned_face_in_rgb_from_0_to_1(tmp_path: Path) -> None:
    save_addon(tmp_path / OWN / "liveness.onnx")
    image = picture_of(204, 51, 0)
    detector = load_detector(tmp_path)
    assert detector.threshold == 0.8
    assert detector.score(image, face(image)) == pytest.approx(0.8, abs=1e-4)
    # Twice the size of what is cut out: 80 pixels for 16 between the eyes, which are 40 apart here.
    image[:, 110:] = 0
    assert detector.score(image, face(image)) == pytest.approx(0.4, abs=0.02)


def test_the_addon_refuses_a_face_at_the_edge_and_one_without_a_mouth(tmp_path: Path) -> None:
    save_addon(tmp_path / OWN / "liveness.onnx")
    image = picture_of(204, 51, 0)
    with pytest.raises(LivenessError, match=says.FACE_TOO_NEAR_TO_EDGE.pattern()):
        load_detector(tmp_path).score(image, face(image, landmarks=MARKS - np.float32(60)))
    marks = MARKS.copy()
    marks[3:] = np.nan
    with pytest.raises(ModelError, match=says.CORNERS_OF_MOUTH_NEEDED.pattern()):
        load_detector(tmp_path).score(image, face(image, landmarks=marks))


def test_outputs_that_are_not_probabilities(tmp_path: Path) -> None:
    image = picture_of(204, 51, 0)
    file = save_constant_minifasnet(tmp_path / OWN / "minifasnet_v2.onnx", 0, math.nan, 0)
    with pytest.raises(ModelError, match=says.NETWORK_GAVE_NO_NUMBER.pattern()):
        load_detector(tmp_path).score(image, face(image))
    file.unlink()
    save_addon(tmp_path / OWN / "liveness.onnx", bias=2)
    with pytest.raises(ModelError, match=says.NETWORK_GAVE_NO_NUMBER.pattern()):
        load_detector(tmp_path).score(image, face(image))


def test_the_mean_over_the_frames_decides(tmp_path: Path) -> None:
    save_constant_minifasnet(tmp_path / OWN / "minifasnet_v2.onnx", 0, 1, 0)
    detector = load_detector(tmp_path)
    require_live(detector, [0.9, 0.93, 0.92], None)
    refused = says.TAKEN_FOR_A_PICTURE.pattern(network="liveness", score="0.913", frames=3)
    with pytest.raises(LivenessError, match=refused):
        require_live(detector, [0.9, 0.92, 0.92], None)
    require_live(detector, [0.0, 1.0], 0.5)
    with pytest.raises(LivenessError):
        require_live(detector, [0.0, 0.99], 0.5)


def test_files_that_are_not_networks_for_liveness(tmp_path: Path, insightface_pack: Path) -> None:
    folder = tmp_path / OWN
    folder.mkdir()
    with pytest.raises(ModelError, match=says.NETWORK_FOLDER_IS_EMPTY.pattern()):
        load_detectors(tmp_path)
    file = folder / "2.7_80x80_MiniFASNetV2.onnx"
    file.write_bytes(b"no network")
    with pytest.raises(ModelError, match=says.NETWORK_IS_DAMAGED.pattern(file=file.name)):
        load_detectors(tmp_path)
    save_minifasnet(file, weight=1, picture=(1, 3, 112, 112))
    with pytest.raises(ModelError, match=says.NETWORK_IS_OF_ANOTHER_KIND.pattern(file=file.name)):
        load_detectors(tmp_path)
    save_minifasnet(file, weight=1, picture=(8, 3, 80, 80))
    with pytest.raises(ModelError, match=says.NETWORK_TAKES_ONE_PICTURE.pattern()):
        load_detectors(tmp_path)
    shutil.copyfile(insightface_pack / "w600k_mbf.onnx", file)
    with pytest.raises(ModelError, match=says.NETWORK_TAKES_ONE_PICTURE.pattern()):
        load_detectors(tmp_path)
    save_constant_minifasnet(file, 0, 1, 0)
    assert load_detectors(tmp_path)
    file.rename(folder / "network.onnx")
    with pytest.raises(ModelError, match=says.NETWORK_NAME_WITHOUT_SCALE.pattern(file="network.onnx")):
        load_detectors(tmp_path)


def test_a_file_that_has_changed_is_loaded_again(tmp_path: Path) -> None:
    image = picture_of(0, 0, 0)
    file = save_constant_minifasnet(tmp_path / OWN / "minifasnet_v2.onnx", 0, 1, 0)
    detector = load_detector(tmp_path)
    assert load_detector(tmp_path) is detector
    save_constant_minifasnet(file, 0, 2, 0)
    assert load_detector(tmp_path).score(image, face(image)) == pytest.approx(second_of(0, 2, 0), abs=1e-6)


# Installing


def test_install_your_own_networks(tmp_path: Path, insightface_pack: Path) -> None:
    models_dir = tmp_path / "models"
    file = save_constant_minifasnet(tmp_path / "2.7_80x80_MiniFASNetV2.onnx", 0, 1, 0)
    with pytest.raises(ModelError, match="as `source`"):
        install(OWN, models_dir, accept_license=True)
    with pytest.raises(LicenseNotAcceptedError):
        install(OWN, models_dir, source=file)
    with pytest.raises(ModelError, match=says.NETWORK_TAKES_ONE_PICTURE.pattern()):
        install(OWN, models_dir, source=insightface_pack, accept_license=True)
    with pytest.raises(ModelError, match=says.NETWORK_FOLDER_IS_EMPTY.pattern()):
        install(OWN, models_dir, source=models_dir, accept_license=True)
    assert not list(models_dir.iterdir())
    assert install(OWN, models_dir, source=file, accept_license=True).present
    assert [entry.name for entry in statuses(models_dir)][-3:] == [*LIVENESS_MODELS, OWN]
    assert [(check.file, check.state) for check in verify(OWN, models_dir)] == [(file.name, "whole")]
    assert load_detector(models_dir).name == OWN
    (models_dir / OWN / file.name).write_bytes(b"other")
    assert [check.state for check in verify(OWN, models_dir)] == ["changed"]


def test_published_networks_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "from"
    files = [save_constant_minifasnet(source / name, 0, 9, 0) for name in ("MiniFASNetV2.onnx", "MiniFASNetV1SE.onnx")]
    models_dir = tmp_path / "models"
    changed = ", ".join(file.name for file in files)
    expected = models_say.FILE_IS_NOT_THE_PUBLISHED_ONE.pattern(files=changed, model="minifasnet")
    with pytest.raises(WeightsMismatchError, match=expected) as refused:
        install("minifasnet", models_dir, source=source)
    assert says.NOTHING_WAS_INSTALLED in str(refused.value)
    # The published files are not available here, so these two replace them.
    published = tuple(ModelFile(file.name, file.stat().st_size, file_sha256(file)) for file in files)
    model = liveness_models.LivenessModel(
        name="minifasnet",
        licence=liveness_models.MINIFASNET_LICENCE,
        threshold=liveness_models.MINIFASNET_THRESHOLD,
        files=published,
    )
    monkeypatch.setitem(LIVENESS_MODELS, "minifasnet", model)
    assert install("minifasnet", models_dir, source=source).present
    assert load_detector(models_dir).name == "minifasnet"
    with pytest.raises(LicenseNotAcceptedError, match=models_say.LICENCE_ALLOWS_RESEARCH_ONLY.pattern()):
        install("insightface-liveness", models_dir, source=source)
    (models_dir / "minifasnet" / "MiniFASNetV2.onnx").unlink()
    assert not status("minifasnet", models_dir).present
    with pytest.raises(WeightsMismatchError, match="pgface models install minifasnet --force"):
        load_detectors(models_dir)


def test_the_insightface_package_has_the_same_digest_of_the_addon() -> None:
    from insightface.addons import ADDON_CATALOG
    from insightface.addons.liveness import DEFAULT_THRESHOLD

    (file,) = LIVENESS_MODELS["insightface-liveness"].files
    (download,) = LIVENESS_MODELS["insightface-liveness"].downloads
    addon = ADDON_CATALOG["liveness"]
    assert (file.name, file.size, file.sha256) == (addon.filename, addon.size_bytes, addon.sha256)
    assert download.url == addon.url
    assert LIVENESS_MODELS["insightface-liveness"].threshold.value == DEFAULT_THRESHOLD
