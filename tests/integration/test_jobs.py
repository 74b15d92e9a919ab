"""Jobs in the library: the queue, the worker, and what a killed worker leaves."""

from __future__ import annotations

import io

from pgface.accounts import Client
from pgface.gallery import Gallery
from pgface.jobs.jobs import Jobs
from support.archives import people, zipped
from support.commands import Run
from support.photos import Photos


def test_a_worker_enrolls_an_archive(gallery: Gallery, photos: Photos, run: Run) -> None:
    files = people(photos, range(1, 4)) | {"Nobody/x.jpg": b"no photo", "loose.jpg": b"x"}
    jobs = Jobs(gallery, gallery)
    job = jobs.enroll(io.BytesIO(zipped(files)), Client(actor="key 3"))
    assert (job.state, job.total, job.done, job.refused) == ("queued", 8, 1, 1)
    print(run("worker", "--until-idle"))
    print(jobs.find(job.id), jobs.results(job.id))
