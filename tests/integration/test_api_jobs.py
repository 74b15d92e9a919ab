"""Jobs over HTTP: who may add, see and cancel them, and which uploads are refused."""

from __future__ import annotations

import pytest

from pgface.jobs.archive import MAX_ENTRIES
from support.archives import people, zipped
from support.photos import Photos
from support.web_service import V1, Served, code_of

JOBS = f"{V1}/jobs"
ZIP = {"Content-Type": "application/zip"}


def test_try(api: Served, photos: Photos) -> None:
    key = api.key("enroll")
    a = api.client.post(JOBS, params={"kind": "enroll"}, headers=key | ZIP, content=zipped(people(photos, range(1, 3))))
    print(a.status_code, a.headers, a.text)
    print(api.client.get(JOBS, headers=key).text)
