from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.photos import Photos
from support.web_service import Served
from pgface.accounts import Client
from pgface.accounts.compreface_keys import create_compreface_key

def key(api, service): 
    return {"x-api-key": str(create_compreface_key(api.owner.database, "k", service, Client())[0])}

def test_smoke(api: Served, photos: Photos) -> None:
    h = key(api, "recognition")
    p = photos("Tony_Blair", 2).read_bytes()
    c = api.client
    for m, u, kw in [
        ("POST", "/api/v1/recognition/faces?subject=Tony", dict(files={"file": ("a.jpg", p)})),
        ("POST", "/api/v1/recognition/faces?subject=tony", dict(files={"file": ("a.jpg", photos("Tony_Blair", 3).read_bytes())})),
        ("GET", "/api/v1/recognition/faces", {}),
        ("GET", "/api/v1/recognition/subjects", {}),
        ("POST", "/api/v1/recognition/recognize?&limit=0&prediction_count=2&face_plugins=landmarks,pose,age&status=True", dict(files={"file": ("a.jpg", photos("Tony_Blair", 4).read_bytes())})),
        ("POST", "/api/v1/recognition/recognize?&detect_faces=false", dict(files={"file": ("a.jpg", photos("Tony_Blair", 4).read_bytes())})),
        ("PUT", "/api/v1/recognition/subjects/TONY", dict(json={"subject": "Anthony"})),
        ("DELETE", "/api/v1/recognition/subjects/anthony", {}),
    ]:
        r = c.request(m, u, headers=h, **kw)
        print(m, u, r.status_code, r.text)
    assert 0
