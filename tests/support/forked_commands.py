"""Runs `pgface` commands in processes that are forked from one that has imported pgface.

Each command has a process, an environment, a folder and streams of its own, as in a shell. Only the imports are shared,
which take most of the time of a short command. The program `CLIENT` stands for `pgface` in a shell: it passes its
arguments, environment, folder and streams to the server, and exits with the code of the command.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

CLIENT = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    command = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(command).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(command)
    code = server.recv(4)
sys.exit(int.from_bytes(code, "big") if code else 1)
"""
_STARTED = b"started\n"


@cache
def client() -> Path:
    """Start the server of this process if necessary, and return the client's file."""
    folder = TemporaryDirectory(prefix="pgface-commands-")
    address = str(Path(folder.name) / "socket")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    server = subprocess.Popen(
        [sys.executable, __file__, address],
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdout
    assert server.stdout.readline() == _STARTED

    def stop() -> None:
        server.communicate(timeout=60)  # it ends with its standard input
        folder.cleanup()

    atexit.register(stop)
    file = Path(folder.name) / "client.py"
    file.write_text(CLIENT.format(address=address), encoding="utf-8")
    return file


def _serve(address: str) -> None:
    _import_pgface()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        os.write(1, _STARTED)
        keepers: set[int] = set()
        while sys.stdin not in (ready := select.select([listener, sys.stdin], [], [])[0]):
            assert listener in ready
            connection, _ = listener.accept()
            with connection:
                if (keeper := os.fork()) == 0:
                    listener.close()
                    _keep(connection)
                    return
            keepers = {number for number in (*keepers, keeper) if os.waitpid(number, os.WNOHANG)[0] == 0}


def _import_pgface() -> None:
    # Not onnxruntime: it starts a thread, and a process that is forked from it waits for that thread at its end.
    import pgface.cli.commands
    import pgface.gallery.gallery  # noqa: F401

    gc.freeze()


def _keep(connection: socket.socket) -> None:
    """Run a command in a further process, and send its exit code."""
    size, streams, *_ = socket.recv_fds(connection, 8, 3)
    received = bytearray()
    while len(received) < int.from_bytes(size, "big"):
        received += connection.recv(1 << 16)
    if (command := os.fork()) == 0:
        connection.close()
        _run(streams, *json.loads(received))
        return
    code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    connection.sendall((code if code >= 0 else 128 - code).to_bytes(4, "big"))
    connection.close()
    os._exit(0)


def _run(streams: list[int], arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # Python's own streams remember whether the first files were terminals or could be searched.
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["pgface", *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from pgface.cli import main

    main()


if __name__ == "__main__":
    _serve(sys.argv[1])
