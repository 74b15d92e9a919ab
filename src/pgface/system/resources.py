"""Measures the memory and the processor cores that this process may use, within the limits of a container."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_LARGE_BLOCK = 4 * 1024 * 1024
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt`, from malloc.h."""

_CGROUP = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def return_large_blocks() -> None:
    """Let glibc return freed blocks of 4 MiB or more to the system at once. Other C libraries do what they do anyway.

    By default, glibc raises that limit to 32 MiB. Each thread that decodes large photos then keeps some 80 MiB. After
    photos of 40 megapixels in five threads, a process had 898 MiB, and 303 MiB with this.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, _LARGE_BLOCK)


def return_freed_memory() -> None:
    """Let glibc return all freed memory to the system now. Other C libraries do what they do anyway.

    The networks use many smaller blocks, too. A long-lived object above them keeps them from being returned.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def usable_memory(cgroup: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> int:
    """Return the bytes of memory that this process may use: the machine's, or the container's limit if that is less."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for group, version in _groups("memory", cgroup, membership):
        text = _read(group / ("memory.max" if version == 2 else "memory.limit_in_bytes"))
        if text.isdecimal():
            limits.append(int(text))
    return min(limits)


def usable_cores(cgroup: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> int:
    """Return the number of processor cores that this process may use, at least 1.

    It is the minimum of the machine's cores, the process's affinity (`taskset`), and the container's quota of
    processor time (`docker run --cpus`). A quota of one and a half cores counts as two.
    """
    limits = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    for group, version in _groups("cpu", cgroup, membership):
        if version == 2:
            quota, _, period = _read(group / "cpu.max").partition(" ")
        else:
            quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(quota) > 0 and int(period) > 0:
            limits.append(math.ceil(int(quota) / int(period)))
    return min(limits)


def _groups(controller: str, cgroup: Path, membership: Path) -> Iterator[tuple[Path, int]]:
    """Yield the folders of this process's control groups, with the version (1 or 2) of Linux control groups.

    A limit can be set at any level above the process. In a container, the process's own path often does not exist. So
    every level counts.
    """
    for line in _read(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, version = cgroup, 2
        elif controller in controllers.split(","):
            # `cpu` and `cpuacct` share a folder, and `cpu` is a link to it.
            top, version = cgroup / controller, 1
        else:
            continue
        parts = Path(path.lstrip("/")).parts
        for depth in range(len(parts) + 1):
            yield top.joinpath(*parts[:depth]), version


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:  # the file does not exist, or this user cannot read it
        return ""
