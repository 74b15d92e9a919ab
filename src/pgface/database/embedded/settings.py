"""The settings of the embedded PostgreSQL: fixed ones, and ones that depend on the machine.

pgface passes all of them on the command line at each start, so they follow changes of the machine. You can still set
`work_mem` and similar settings for a session, a role or a database. To change more, use your own server.
"""

from __future__ import annotations

import sys

MEBI = 1024 * 1024
PORT = "5432"
"""Part of the socket's name. Nothing listens on this port."""

FIXED_SETTINGS = {
    "listen_addresses": "",
    "port": PORT,
    "unix_socket_directories": ".",  # relative to the data folder, so the path can be long
    "unix_socket_permissions": "0700",
    # Reserved huge pages are for another program. In a container without permission, they would kill the server.
    "huge_pages": "off",
    # Ends the long statement of a killed client, such as an index build, and releases its locks.
    "client_connection_check_interval": "5s",
    # The log must not contain data. The texts, details and statements of errors repeat values of rows.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
}
if sys.platform == "linux":
    # POSIX shared memory is in /dev/shm, which has 64 MB in a container: too little for a parallel index build.
    FIXED_SETTINGS["dynamic_shared_memory_type"] = "sysv"
    # Syncs all files before a recovery in one call instead of a thousand (0.5 s instead of 5 s, measured).
    FIXED_SETTINGS["recovery_init_sync_method"] = "syncfs"


def fitted_settings(memory: int, cores: int) -> dict[str, str]:
    """Compute PostgreSQL's settings for a machine with this memory, in bytes, and this number of cores.

    The server shares the machine with the models and the caller's program. PostgreSQL advises a quarter of the memory
    for `shared_buffers` on a dedicated server. Unused memory costs nothing. 8 GiB are enough for a million faces with
    their index. An HNSW index is built several times faster while its graph fits into `maintenance_work_mem` (about
    260 MB for 100,000 faces). All workers of a build share that memory.
    """
    workers = min(max(cores // 2, 2), 4) if cores > 1 else 0
    return {
        "shared_buffers": _share(memory, 4, least=32, most=8192),
        "effective_cache_size": _share(memory, 2, least=64, most=65536),
        "maintenance_work_mem": _share(memory, 12, least=32, most=2048),
        "autovacuum_work_mem": _share(memory, 64, least=16, most=256),
        "work_mem": _share(memory, 256, least=4, most=64),
        "max_worker_processes": str(max(8, cores)),
        "max_parallel_workers": str(max(workers, cores)),
        "max_parallel_workers_per_gather": str(workers),
        "max_parallel_maintenance_workers": str(workers),
    }


def _share(memory: int, divisor: int, *, least: int, most: int) -> str:
    return f"{min(max(memory // divisor // MEBI, least), most)}MB"
