"""A program that opens a gallery and then forks, as prefork servers do; it prints a JSON line for each process.

    python forking_program.py fork|multiprocessing|prefork PROCESSES QUESTIONS PHOTO

Each process asks for one user after another, and once who is in the photo.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from pathlib import Path

from pgface import Gallery

TASKS = 5
"""Into which the questions of each process are divided."""
TASKS_OF_A_WORKER = 2

gallery = Gallery.open()
emails = {user.id: user.email for user in gallery.users()}
photo = Path(sys.argv[4])
gallery.identify(photo)  # so that the parent has an engine, and connections that were used


def ask(process: int, questions: int) -> dict[str, object]:
    """Ask for users by turns, each process in another order."""
    ids = sorted(emails)
    wrong = 0
    for number in range(questions):
        wanted = ids[(number + process) % len(ids)]
        (user,) = gallery.users(after=wanted - 1, limit=1)
        wrong += (user.id, user.email) != (wanted, emails[wanted])
    (identified,) = gallery.identify(photo).faces
    (face,) = gallery.faces(photo)
    gallery.enroll_embedding(face.embedding, identified.matches[0].user_id)
    return {"process": process, "asked": questions, "wrong": wrong, "who": [m.email for m in identified.matches]}


def say(answer: dict[str, object]) -> None:
    """Print one line at once, so that lines of several processes do not mix."""
    os.write(1, f"{json.dumps(answer)}\n".encode())


def by_fork(processes: int, questions: int) -> None:
    """The parent asks while its children do."""
    children = []
    for process in range(1, processes):
        child = os.fork()
        if child == 0:
            say(ask(process, questions))
            gallery.close()
            os._exit(0)
        children.append(child)
    say(ask(0, questions))
    for child in children:
        _, status = os.waitpid(child, 0)
        assert status == 0
    say(ask(0, questions))  # the children have closed theirs


def by_multiprocessing(processes: int, questions: int) -> None:
    """Workers of a pool, which take one task after the other."""
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for answer in pool.starmap(ask, [(process, questions) for process in range(processes)], chunksize=1):
            say(answer)


def by_prefork(processes: int, questions: int) -> None:
    """A master that keeps so many workers, as Celery does: each does a few tasks, and then another takes its place.

    The master goes on using its gallery between two forks.
    """
    tasks = [(process, questions // TASKS) for process in range(processes) for _ in range(TASKS)]
    working: set[int] = set()
    while tasks or working:
        while tasks and len(working) < processes:
            mine, tasks = tasks[:TASKS_OF_A_WORKER], tasks[TASKS_OF_A_WORKER:]
            child = os.fork()
            if child == 0:
                for process, count in mine:
                    say(ask(process, count))
                os._exit(0)  # without closing anything, as one that is killed
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
