"""The output of a benchmark: rows with verdicts, advice, JSON, and the plot."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from PIL import Image
from rich.console import Console

from pgface.errors import StorageError
from pgface.operations.bench.advice import advice
from pgface.operations.bench.plot import draw
from pgface.operations.bench.report import rows, table
from pgface.operations.bench.results import GalleryResult, Latency, Proportion, Relation
from pgface.operations.bench.run import write_json
from pgface.operations.bench.synthetic import Kind
from support.benchmark_results import ALL, MEBI, benchmark, compared, crowd, curve, latency, result
from support.sentences import benchmark as says


def verdict(found: GalleryResult, what: str) -> bool | None:
    (row,) = (row for row in rows(found) if row.what.startswith(what))
    return row.met


def test_a_share_has_its_interval() -> None:
    share = Proportion.of(999, 1_000)
    assert (share.value, share.misses) == (0.999, 1)
    assert (share.low, share.high) == pytest.approx((0.99435, 0.99982), abs=1e-4)
    nothing = Proportion.of(0, 0)
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high) == (0, 1)


def test_latency_is_in_milliseconds() -> None:
    assert Latency.of([0.001] * 90 + [0.002] * 10) == Latency(1.0, 2.0, 100)


@pytest.mark.parametrize(("hits", "met"), [(1_000, True), (999, True), (998, False)])
def test_agreement_and_recall_must_be_0_999(hits: int, met: bool) -> None:
    share = Proportion.of(hits, 1_000)
    assert verdict(result(mated_agreement=share), says.AGREEMENT_OF_MATED_PROBES) is met
    assert verdict(result(recall=share), says.RECALL.format(threshold=0.42, fpir=1.0)) is met
    assert verdict(result(non_mated_agreement=share), says.AGREEMENT_OF_NON_MATED_PROBES) is None


def test_recall_without_trials_is_neither_met_nor_missed() -> None:
    recall = says.RECALL.format(threshold=0.42, fpir=1.0)
    assert verdict(result(recall=Proportion.of(0, 0)), recall) is None


@pytest.mark.parametrize(
    ("name", "ratio", "faces", "probes", "met"),
    [
        ("FAISS HNSW", 4.0, 100_000, "mated", True),
        ("FAISS HNSW", 4.1, 100_000, "mated", False),
        ("FAISS HNSW", 9.0, 10_000, "mated", None),
        ("FAISS HNSW", 9.0, 100_000, "non-mated", None),
        ("hnswlib", 9.0, 100_000, "mated", None),
        ("NumPy, exact", 0.9, 1_000_000, "mated", True),
        ("NumPy, exact", 1.1, 1_000_000, "mated", False),
        ("NumPy, exact", 1.1, 100_000, "mated", None),
    ],
)
def test_peers_have_targets_at_some_sizes(name: str, ratio: float, faces: int, probes: str, met: bool | None) -> None:
    found = result(faces=faces, comparisons=(compared(name, ratio, probes, effort=48),))
    assert verdict(found, says.SEARCHES_COMPARED.format(probes=probes)) is met


def test_templates_and_their_indexes_have_a_target_for_each_face() -> None:
    assert verdict(result(), says.DISK_FOR_EACH_FACE) is True
    larger = Relation("idx_user_templates_hnsw", "user_templates", "hnsw", 150_000_001 - 24 * MEBI)
    assert verdict(result(relations=(*result().relations[:2], larger)), says.DISK_FOR_EACH_FACE) is False


@pytest.mark.parametrize(
    ("p95", "rate", "met"), [(3.0, 20.0, True), (3.1, 20.0, False), (2.0, 17.0, False)], ids=["met", "slow", "too few"]
)
def test_clients_must_not_wait_long_while_faces_are_enrolled(p95: float, rate: float, met: bool) -> None:
    flat_out, at_a_pace = says.CLIENTS_FLAT_OUT.format(clients=8), says.CLIENTS_AT_A_PACE.format(clients=8, searches=20)
    assert verdict(result(crowds=(crowd(p95=p95, rate=rate),)), flat_out) is met
    assert verdict(result(crowds=(crowd(p95=p95, rate=rate, each=20.0),)), at_a_pace) is met


def test_every_enrolled_face_must_be_identified_directly() -> None:
    assert verdict(result(crowds=(crowd(found=100),)), says.FOUND_AT_ONCE) is True
    assert verdict(result(crowds=(crowd(found=99),)), says.FOUND_AT_ONCE) is False


def test_the_table_shows_figures_targets_and_verdicts() -> None:
    console = Console(file=StringIO(), width=220)
    found = result(mated_agreement=Proportion.of(990, 1_000), crowds=(crowd(),))
    console.print(table(found.name, rows(found)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert says.GALLERY.format(people="20,000", kind="clustered") in text
    share = says.SHARE_WITH_ITS_INTERVAL
    assert share.format(share="0.9900", low="0.9817", high="0.9946", missed=10, trials="1,000") in text
    assert says.SEARCH_WITH_TWO_EFFORTS.format(method="hnsw", first=24, second=200) in text
    assert says.PEER_AND_ITS_AGREEMENT.format(peer="FAISS HNSW", effort=48, agreement="1.0000") in text
    assert "missed" in text
    assert "met" in text


def advice_for(*results: GalleryResult, shared_buffers: int = 1024 * MEBI) -> str:
    return " ".join(advice(benchmark(*results, shared_buffers=shared_buffers)))


def test_advice_about_the_method_for_each_size() -> None:
    small = result(people=200, faces=1_000, method="exact", mated=latency(0.3), comparisons=(), curve=None)
    both = advice_for(small, result())
    assert says.EXACT_SCAN_IS_QUICK_ENOUGH.format(people=200, faces="1,000") in both
    assert "0.3 ms" in both
    larger = says.GALLERY.format(people="20,000", kind="clustered")
    assert says.INDEX_BESIDE_EXACT_SCAN.format(gallery=larger, method="hnsw", index_ms=0.02, scan_ms=1) in both


def test_advice_about_agreement_and_its_certainty() -> None:
    many = Proportion.of(100_000, 100_000)
    assert says.AGREEMENT_MET_EVERYWHERE in advice_for(result(mated_agreement=many))
    assert says.FEW_PROBES_SHOW_LITTLE.format(probes="1,000", low=0.9962) in advice_for(result())
    missed = advice_for(result(mated_agreement=Proportion.of(990, 1_000)))
    assert says.AGREEMENT_MISSED in missed
    assert "everywhere" not in missed
    assert "everywhere" in advice_for(result(recall=Proportion.of(0, 0)))


def test_advice_about_memory() -> None:
    searched = says.SEARCHED_BYTES.format(needed=50, faces="100,000")
    assert says.MEMORY_HOLDS_WHAT_IS_SEARCHED.format(there="1,024", searched=searched) in advice_for(result())
    small = advice_for(result(), shared_buffers=32 * MEBI)
    assert says.MEMORY_DOES_NOT_HOLD_WHAT_IS_SEARCHED.format(there=32, searched=searched) in small
    assert says.SET_MORE_MEMORY.format(wanted=64) in small
    scanned = result(method="exact", first_effort=None, curve=None, comparisons=())
    assert says.SEARCHED_BYTES.format(needed=270, faces="100,000") in advice_for(scanned)
    assert says.DISK_FOR_A_MILLION_FACES.format(size=3.4) in advice_for(result())


def test_advice_about_concurrent_clients() -> None:
    assert "clients" not in advice_for(result(crowds=(crowd(),)))
    assert says.CLIENTS_WAIT_LONGER.format(clients=8, ratio=4) in advice_for(result(crowds=(crowd(p95=4.0),)))
    assert says.FACES_NOT_IDENTIFIED_AT_ONCE.format(missed=1, enrolled=100) in advice_for(
        result(crowds=(crowd(found=99),))
    )


def test_json_has_every_figure_and_no_nan(tmp_path: Path) -> None:
    write_json(benchmark(result(recall=Proportion.of(0, 0), crowds=(crowd(),))), tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text(), parse_constant=pytest.fail)
    (gallery,) = figures["results"]
    assert gallery["recall"]["value"] is None
    assert gallery["mated_agreement"]["low"] == ALL.low
    assert gallery["curve"]["points"][0]["latency"]["p50"] == 0.5
    assert gallery["kind"] == "clustered"
    assert figures["server"]["shared_buffers"] == 1024 * MEBI
    assert figures["machine"] == {"cores": "2"}
    with pytest.raises(StorageError, match=says.FILE_CANNOT_BE_WRITTEN.pattern()):
        write_json(benchmark(result()), tmp_path / "no" / "figures.json")


SMALL = {"people": 200, "faces": 1_000, "method": "exact", "mated": latency(0.3), "curve": None}


def test_the_plot_has_a_panel_for_each_size_and_kind(tmp_path: Path) -> None:
    missing = result(kind=Kind.ISOTROPIC, curve=curve("pgface, one index search", (10, 500, 0.4), (1000, 3, 9.0)))
    draw([result(**SMALL), result(), missing], tmp_path / "plot.svg")
    # Text is drawn as shapes, and the words are in comments.
    text = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    assert ET.fromstring(text).tag.endswith("svg")  # noqa: S314 - the test wrote the file
    for people, faces, kind in (("200", "1,000", "clustered"), ("20,000", "100,000", "isotropic")):
        assert f"<!-- {says.PANEL.format(people=people, faces=faces, kind=kind)} -->" in text
    assert f"<!-- {says.PEER_IN_PROCESS.format(peer='FAISS HNSW')} -->" in text
    assert f"<!-- {says.SEARCH_AS_PGFACE_CHOSE} -->" in text
    assert "hnswlib" not in text


def test_the_plot_can_be_a_png(tmp_path: Path) -> None:
    draw([result()], tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.format == "PNG"
        colours = picture.convert("RGB").getcolors(picture.width * picture.height)
        assert colours is not None
        assert len(colours) > 10
    with pytest.raises(StorageError, match=says.FILE_CANNOT_BE_WRITTEN.pattern()):
        draw([result()], tmp_path / "no" / "plot.png")


def test_without_matplotlib_the_error_says_how_to_install_it() -> None:
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from pgface.cli import main\n"
        "sys.argv = ['pgface', 'bench', '--plot', 'plot.png']; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert says.MATPLOTLIB_IS_NOT_INSTALLED in done.stderr
    assert "Traceback" not in done.stderr
