"""The settings of the embedded PostgreSQL."""

from __future__ import annotations

import pytest

from pgface.database.embedded.settings import fitted_settings

MEBI = 1024 * 1024
GIBI = 1024 * MEBI


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
