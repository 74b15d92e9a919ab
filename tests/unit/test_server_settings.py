from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgface.postgres.server_settings import fitted_settings, machine_memory

MEBI = 1024 * 1024
GIBI = 1024 * MEBI
MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def limit(folder: Path, name: str, value: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"{value}\n")


def membership(folder: Path, text: str) -> Path:
    file = folder / "membership"
    file.write_text(text)
    return file


def test_without_control_groups_it_is_the_machines_memory(tmp_path: Path) -> None:
    assert machine_memory(tmp_path, tmp_path / "none") == MACHINE


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    limit(tmp_path, "memory.max", 300 * MEBI)
    assert machine_memory(tmp_path, membership(tmp_path, "0::/\n")) == 300 * MEBI


def test_the_least_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    limit(tmp_path / "service" / "job", "memory.max", "max")
    limit(tmp_path / "service", "memory.max", 200 * MEBI)
    limit(tmp_path / "other", "memory.max", 100 * MEBI)
    assert machine_memory(tmp_path, membership(tmp_path, "0::/service/job\n")) == 200 * MEBI


def test_the_first_version_of_control_groups_is_read_too(tmp_path: Path) -> None:
    lines = "9:name=systemd:/\n4:memory:/docker/0123\n3:cpu,cpuacct:/docker/0123\n"
    limit(tmp_path / "memory", "memory.limit_in_bytes", 250 * MEBI)  # all that a container sees of its own group
    assert machine_memory(tmp_path, membership(tmp_path, lines)) == 250 * MEBI


def test_a_limit_above_the_machines_memory_is_none(tmp_path: Path) -> None:
    limit(tmp_path / "memory", "memory.limit_in_bytes", 9223372036854771712)
    assert machine_memory(tmp_path, membership(tmp_path, "4:memory:/\n")) == MACHINE


@pytest.mark.parametrize(
    ("memory", "shared_buffers", "maintenance_work_mem", "work_mem"),
    [
        (64 * MEBI, "32MB", "32MB", "4MB"),
        (GIBI, "256MB", "85MB", "4MB"),
        (16 * GIBI, "4096MB", "1365MB", "64MB"),
        (1024 * GIBI, "8192MB", "2048MB", "64MB"),
    ],
)
def test_memory_settings_grow_with_the_machine_up_to_a_limit(
    memory: int, shared_buffers: str, maintenance_work_mem: str, work_mem: str
) -> None:
    settings = fitted_settings(memory, cores=2)
    assert settings["shared_buffers"] == shared_buffers
    assert settings["maintenance_work_mem"] == maintenance_work_mem
    assert settings["work_mem"] == work_mem


@pytest.mark.parametrize(("cores", "workers"), [(1, "0"), (2, "2"), (6, "3"), (64, "4")])
def test_parallel_workers_follow_the_cores(cores: int, workers: str) -> None:
    settings = fitted_settings(GIBI, cores)
    assert settings["max_parallel_workers_per_gather"] == workers
    assert settings["max_parallel_maintenance_workers"] == workers
    assert int(settings["max_worker_processes"]) >= int(settings["max_parallel_workers"]) >= int(workers)
