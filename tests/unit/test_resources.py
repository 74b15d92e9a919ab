"""The memory and the cores that the process may use, with and without a container."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pgface.system.resources import usable_cores, usable_memory

MEBI = 1024 * 1024
MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit(folder: Path, name: str, value: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"{value}\n")


def membership(folder: Path, text: str) -> Path:
    file = folder / "membership"
    file.write_text(text)
    return file


KEPT_AFTER_LARGE_PICTURES = """
import sys
from concurrent.futures import ThreadPoolExecutor
from PIL import Image
from pgface.system.resources import return_large_blocks

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def convert(_):
    Image.new("RGB", (6000, 5000), (90, 120, 60)).convert("L").resize((100, 100))

if sys.argv[1] == "returned":
    return_large_blocks()
Image.new("RGB", (10, 10)).convert("L")
before = resident()
with ThreadPoolExecutor(4) as pool:
    for _ in range(2):
        list(pool.map(convert, range(4)))
    print(resident() - before)
"""


def kept_after_large_pictures(how: str) -> int:
    """Return the bytes that a process keeps after four threads have used large pictures."""
    done = subprocess.run([sys.executable, "-c", KEPT_AFTER_LARGE_PICTURES, how], capture_output=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_the_memory_of_large_pictures_is_returned() -> None:
    assert kept_after_large_pictures("returned") < 16 * MEBI < kept_after_large_pictures("kept")


FREED_BELOW_A_BLOCK = """
from pgface.system.resources import return_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

blocks = [bytearray(64 * 1024) for _ in range(1600)]
above = bytearray(64 * 1024)
del blocks
before = resident()
return_freed_memory()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_freed_memory_below_a_block_in_use_is_returned() -> None:
    done = subprocess.run([sys.executable, "-c", FREED_BELOW_A_BLOCK], capture_output=True, check=True)
    assert int(done.stdout) > 90 * MEBI


def test_without_control_groups_it_is_the_machines_memory(tmp_path: Path) -> None:
    assert usable_memory(tmp_path, tmp_path / "none") == MACHINE


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    limit(tmp_path, "memory.max", 300 * MEBI)
    assert usable_memory(tmp_path, membership(tmp_path, "0::/\n")) == 300 * MEBI


def test_the_smallest_limit_of_all_levels_counts(tmp_path: Path) -> None:
    limit(tmp_path / "service" / "job", "memory.max", "max")
    limit(tmp_path / "service", "memory.max", 200 * MEBI)
    limit(tmp_path / "other", "memory.max", 100 * MEBI)
    assert usable_memory(tmp_path, membership(tmp_path, "0::/service/job\n")) == 200 * MEBI


def test_version_1_of_control_groups(tmp_path: Path) -> None:
    lines = "9:name=systemd:/\n4:memory:/docker/0123\n3:cpu,cpuacct:/docker/0123\n"
    limit(tmp_path / "memory", "memory.limit_in_bytes", 250 * MEBI)  # a container sees only its own group
    assert usable_memory(tmp_path, membership(tmp_path, lines)) == 250 * MEBI


def test_a_limit_above_the_machines_memory_does_not_count(tmp_path: Path) -> None:
    limit(tmp_path / "memory", "memory.limit_in_bytes", 9223372036854771712)
    assert usable_memory(tmp_path, membership(tmp_path, "4:memory:/\n")) == MACHINE


def test_without_control_groups_all_cores_count(tmp_path: Path) -> None:
    assert usable_cores(tmp_path, tmp_path / "none") == CORES


@pytest.mark.parametrize(
    ("quota", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("150000 100000", 2), ("max 100000", 64), ("", 64)]
)
def test_a_quota_of_processor_time_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    limit(tmp_path, "cpu.max", quota)
    assert usable_cores(tmp_path, membership(tmp_path, "0::/\n")) == cores


@pytest.mark.parametrize(("quota", "cores"), [(100_000, 1), (250_000, 3), (-1, 64), (0, 64)])
def test_a_quota_of_version_1_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: int, cores: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    limit(tmp_path / "cpu", "cpu.cfs_quota_us", quota)
    limit(tmp_path / "cpu", "cpu.cfs_period_us", 100_000)
    lines = "4:memory:/docker/0123\n3:cpu,cpuacct:/docker/0123\n"
    assert usable_cores(tmp_path, membership(tmp_path, lines)) == cores


def test_the_smallest_quota_of_all_levels_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    limit(tmp_path / "service" / "job", "cpu.max", "max 100000")
    limit(tmp_path / "service", "cpu.max", "400000 100000")
    assert usable_cores(tmp_path, membership(tmp_path, "0::/service/job\n")) == 4


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_workers_follow_the_affinity() -> None:
    program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    program += "from pgface.settings import Settings; print(Settings().workers)"
    own = {name: value for name, value in os.environ.items() if not name.startswith("PGFACE_")}
    done = subprocess.run([sys.executable, "-c", program], env=own, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize(("given", "threads"), [(None, "1"), ("2", "2")])
def test_opencv_starts_no_threads_in_a_command_unless_you_want_them(given: str | None, threads: str) -> None:
    program = "import sys; from pgface.cli import main; sys.argv = ['pgface', '--version']; main()\n"
    program += "import cv2; print(cv2.getNumThreads())"
    own = {name: value for name, value in os.environ.items() if name != "OPENCV_FOR_THREADS_NUM"}
    own |= {"OPENCV_FOR_THREADS_NUM": given} if given else {}
    done = subprocess.run([sys.executable, "-c", program], env=own, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == threads
