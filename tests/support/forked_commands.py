"""Runs `pgface` commands in processes that are forked from one that has imported pgface.

Each command has a process, an environment, a folder and streams of its own, as in a shell. Only the imports are shared,
which take most of the time of a short command. The program `CLIENT` stands for `pgface` in a shell: it passes its
arguments, environment, folder and streams to the server, and exits with the code of the command. `ForkedProcess` stands
for a `subprocess.Popen` of a command.
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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

CLIENT = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    command = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(command).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(command)
    server.recv(8)  # the id of the process
    code = int.from_bytes(server.recv(8) or b"\\1", "big", signed=True)
sys.exit(code if code >= 0 else 128 - code)
"""
_STARTED = b"started\n"
_OF_THE_SERVICE = ("babel.messages", "cv2", "fastapi", "httptools", "jinja2", "uvicorn.supervisors", "uvloop")
"""Packages that take most of the time in which the service is imported."""


class ForkedProcess:
    """A running command, with the methods of `subprocess.Popen` that tests need."""

    def __init__(
        self, arguments: Sequence[str], *, env: Mapping[str, str], stdin: int, stdout: int, stderr: int
    ) -> None:
        """Start `pgface` with these arguments, exactly this environment and these open files."""
        self.args = ["pgface", *arguments]
        self.returncode: int | None = None
        command = json.dumps([list(arguments), os.getcwd(), dict(env)]).encode()
        self._keeper = socket.socket(socket.AF_UNIX)
        self._keeper.connect(str(_address()))
        socket.send_fds(self._keeper, [len(command).to_bytes(8, "big")], [stdin, stdout, stderr])
        self._keeper.sendall(command)
        self.pid = int.from_bytes(self._keeper.recv(8), "big")

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._ended_within(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended, and return its exit code."""
        code = self._ended_within(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM if it runs."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL if it runs."""
        self.send_signal(signal.SIGKILL)

    def _ended_within(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._keeper], [], [], seconds)[0]:
            self.returncode = int.from_bytes(self._keeper.recv(8), "big", signed=True)
            self._keeper.close()
        return self.returncode


@cache
def client() -> Path:
    """Return the file of the program `CLIENT`."""
    file = _address().with_name("client.py")
    file.write_text(CLIENT.format(address=str(_address())), encoding="utf-8")
    return file


@cache
def _address() -> Path:
    """Start the server of this process, and return the path of its socket."""
    folder = TemporaryDirectory(prefix="pgface-commands-")
    address = Path(folder.name) / "socket"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    server = subprocess.Popen(
        [sys.executable, __file__, str(address)],
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
    return address


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
    # Not pgface.server: its metrics read an environment variable when they are imported.
    for name in ("pgface.cli.commands", "pgface.gallery.gallery", "pgface.accounts", "pgface.jobs", *_OF_THE_SERVICE):
        import_module(name)

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
    for stream in streams:
        os.close(stream)  # or the reader of a pipe would wait for this process
    connection.sendall(command.to_bytes(8, "big"))
    code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    with suppress(BrokenPipeError):
        connection.sendall(code.to_bytes(8, "big", signed=True))
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

    try:
        main()
    finally:
        gc.freeze()  # as `pgface.__main__` does


if __name__ == "__main__":
    _serve(sys.argv[1])
