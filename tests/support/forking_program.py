"""A program that opens a gallery and then forks, as prefork servers do. It prints a JSON line for each process.

    python forking_program.py fork|multiprocessing|prefork PROCESSES READS PHOTO

Each process reads one user after another, and identifies the photo once.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from pathlib import Path

from pgface import Gallery

TASKS = 5
"""The number of parts of each process's reads."""
TASKS_OF_A_WORKER = 2

gallery = Gallery.open()
emails = {user.id: user.email for user in gallery.users()}
photo = Path(sys.argv[4])
gallery.identify(photo)  # so that the parent has an engine, and connections that were used


def read_users(process: int, reads: int) -> dict[str, object]:
    """Read users in turn, each process in another order."""
    ids = sorted(emails)
    wrong = 0
    for number in range(reads):
        wanted = ids[(number + process) % len(ids)]
        (user,) = gallery.users(after=wanted - 1, limit=1)
        wrong += (user.id, user.email) != (wanted, emails[wanted])
    (identified,) = gallery.identify(photo).faces
    (face,) = gallery.faces(photo)
    gallery.enroll_embedding(face.embedding, identified.matches[0].user_id)
    return {"process": process, "reads": reads, "wrong": wrong, "who": [m.email for m in identified.matches]}


def write_line(answer: dict[str, object]) -> None:
    """Print a line in one write, so that lines of several processes do not mix."""
    os.write(1, f"{json.dumps(answer)}\n".encode())


def by_fork(processes: int, reads: int) -> None:
    """The parent reads at the same time as its children."""
    children = []
    for process in range(1, processes):
        child = os.fork()
        if child == 0:
            write_line(read_users(process, reads))
            gallery.close()
            os._exit(0)
        children.append(child)
    write_line(read_users(0, reads))
    for child in children:
        _, status = os.waitpid(child, 0)
        assert status == 0
    write_line(read_users(0, reads))  # the children have closed their galleries


def by_multiprocessing(processes: int, reads: int) -> None:
    """Workers of a pool run one task after the other."""
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for answer in pool.starmap(read_users, [(process, reads) for process in range(processes)], chunksize=1):
            write_line(answer)


def by_prefork(processes: int, reads: int) -> None:
    """A master replaces each worker after a few tasks, as Celery does.

    The master uses its gallery between two forks.
    """
    tasks = [(process, reads // TASKS) for process in range(processes) for _ in range(TASKS)]
    working: set[int] = set()
    while tasks or working:
        while tasks and len(working) < processes:
            mine, tasks = tasks[:TASKS_OF_A_WORKER], tasks[TASKS_OF_A_WORKER:]
            child = os.fork()
            if child == 0:
                for process, count in mine:
                    write_line(read_users(process, count))
                os._exit(0)  # without closing the gallery, like a killed process
            working.add(child)
        for user_id, email in emails.items():
            assert gallery.user(user_id).email == email
        ended, status = os.wait()
        assert status == 0
        working.discard(ended)


if __name__ == "__main__":
    {"fork": by_fork, "multiprocessing": by_multiprocessing, "prefork": by_prefork}[sys.argv[1]](
        int(sys.argv[2]), int(sys.argv[3])
    )
    gallery.close()
