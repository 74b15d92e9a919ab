"""External ids, labels and metadata over HTTP, on the pages, and in the commands."""

from __future__ import annotations

import json
import logging
import zipfile
from io import BytesIO

import pytest

from pgface.accounts import read_audit
from support.commands import Run
from support.photos import Photos
from support.web_service import V1, Served, base64_of, code_of, file

pytestmark = pytest.mark.slow

ABOUT = {"external_id": "emp-17", "labels": ["staff", " night shift "], "metadata": {"room": 12, "note": "secret é"}}
STORED = ABOUT | {"labels": ["night shift", "staff"]}


def test_users_by_the_api(api: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    admin = api.key("admin", "enroll")
    made = api.client.post(f"{V1}/users", headers=admin, json={"email": "a@example.org"} | ABOUT).json()
    assert {name: made[name] for name in STORED} == STORED
    other = api.client.post(f"{V1}/users", headers=admin, json={"email": "b@example.org", "labels": ["staff"]}).json()
    assert (other["external_id"], other["metadata"]) == (None, {})
    path = f"{V1}/users/{made['id']}"
    assert api.client.get(path, headers=admin).json() == made
    for query, ids in (
        ("label=staff", [made["id"], other["id"]]),
        ("label=staff&label=night%20shift", [made["id"]]),
        ("label=Staff", []),
        ("external_id=emp-17", [made["id"]]),
        ("external_id=emp-1", []),
        ("label=staff&search=b%40", [other["id"]]),
    ):
        listed = api.client.get(f"{V1}/users?{query}", headers=admin).json()["users"]
        assert [user["id"] for user in listed] == ids, query
    changed = api.client.patch(path, headers=admin, json={"labels": ["guest"]}).json()
    assert changed == made | {"labels": ["guest"]}
    changed = api.client.patch(path, headers=admin, json={"name": "Ana", "external_id": None, "metadata": {}}).json()
    assert (changed["name"], changed["external_id"], changed["metadata"]) == ("Ana", None, {})
    assert api.client.patch(path, headers=admin, json={"external_id": "emp-17"}).json()["external_id"] == "emp-17"
    taken = api.client.patch(f"{V1}/users/{other['id']}", headers=admin, json={"external_id": "emp-17"})
    assert code_of(taken, 409) == "duplicate-external-id"
    deep = json.loads("[" * 90 + "]" * 90)
    for refused in (
        {"external_id": "a\nb"},
        {"labels": [""]},
        {"labels": ["x" * 65]},
        {"labels": [str(number) for number in range(33)]},
        {"labels": "staff"},
        {"metadata": [1]},
        {"metadata": {"note": "private\0"}},
        {"metadata": {"note": "private" * 2_000}},
        {"metadata": {"deep": deep}},
        {"metadata": {"n": 1e300}},
        {"email": "c@example.org"},
    ):
        answer = api.client.patch(path, headers=admin, json=refused)
        assert answer.status_code == 422, (refused, answer.text)
        assert "private" not in answer.text
    for body in (b'{"metadata": {"a": "\\ud800"}}', b'{"metadata": {"a": NaN}}', b'{"labels": ["\\u0000"]}'):
        answer = api.client.patch(path, headers=admin | {"Content-Type": "application/json"}, content=body)
        assert answer.status_code in (400, 422), answer.text
    assert code_of(api.client.patch(f"{V1}/users/{2**31 - 1}", headers=admin, json={}), 404) == "unknown-user"
    events = [entry.event for entry in read_audit(api.gallery.database, user_id=made["id"])]
    assert events == ["user changed"] * 3 + ["user added"]
    logged = "".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))
    assert not any(word in logged for word in ("secret é", "night shift", "emp-17", "guest"))


def test_identification_by_the_api(api: Served, photos: Photos) -> None:
    key = api.key("enroll", "identify")
    photo, other = (photos("Colin_Powell", number).read_bytes() for number in (1, 2))
    form = {"email": "a@example.org", "external_id": "e", "labels": ["x", "y"], "metadata": '{"k": [1.5]}'}
    enrolled = api.client.post(f"{V1}/photos", headers=key, data=form, files={"photo": file(photo)})
    assert enrolled.status_code == 201, enrolled.text
    user = enrolled.json()["user"]
    assert (user["external_id"], user["labels"], user["metadata"]) == ("e", ["x", "y"], {"k": [1.5]})
    for labels, found in ((["x"], ["e"]), (["y", "x"], ["e"]), (["z"], []), ([], ["e"])):
        body = {"photo": base64_of(other), "labels": labels}
        (face,) = api.client.post(f"{V1}/identify", headers=key, json=body).json()["faces"]
        assert [match["external_id"] for match in face["matches"]] == found
    answer = api.client.post(f"{V1}/identify", headers=key, data={"labels": "x"}, files={"photo": file(other)})
    assert answer.json()["faces"][0]["identified"]


def test_users_see_what_is_stored_about_them_and_change_nothing(api: Served) -> None:
    me, admin = api.person(), api.administrator()
    api.gallery.update_user(me.id, **STORED)  # type: ignore[arg-type]
    own = api.client.get(f"{V1}/users/{me.id}", headers=me.headers).json()
    assert {name: own[name] for name in STORED} == STORED
    refused = api.client.patch(f"{V1}/users/{me.id}", headers=me.headers, json={"labels": []})
    assert code_of(refused, 403) == "not-permitted"
    assert api.client.get(f"{V1}/users?label=staff", headers=me.headers).status_code == 403
    with zipfile.ZipFile(BytesIO(api.client.get("/account/data", headers=me.cookie).content)) as archive:
        (account,) = json.loads(archive.read("account.json"))
    assert {name: account[name] for name in STORED} == STORED
    page = api.client.get(f"/admin/people/{me.id}", headers=admin.cookie).text
    assert all(word in page for word in ("emp-17", "night shift", "secret é", "/admin/gallery?label=night%20shift"))
    page = api.client.get("/admin/gallery?label=night%20shift", headers=admin.cookie).text
    assert f"/admin/people/{me.id}" in page
    assert f"/admin/people/{admin.id}" not in page
    page = api.client.get("/admin/gallery?label=x", headers=admin.cookie).text
    assert f"/admin/people/{me.id}" not in page
    assert api.client.get("/admin/gallery?label=%00", headers=admin.cookie).status_code == 422


@pytest.mark.usefixtures("gallery")
def test_users_by_commands(run: Run, photos: Photos) -> None:
    options = ("--external-id", "emp-17", "--label", "staff", "--label", "x", "--metadata", '{"room": 12}')
    photo = str(photos("Colin_Powell", 1))
    run("enroll", photo, "--user", "a@example.org", *options)
    run("users", "add", "b@example.org", "--label", "x")
    shown = json.loads(run("users", "list", "--label", "x", "--label", "staff", "--json").stdout)
    assert [(user["external_id"], user["labels"], user["metadata"]) for user in shown] == [
        ("emp-17", ["staff", "x"], {"room": 12})
    ]
    found = json.loads(run("identify", photo, "--label", "staff", "--json").stdout)
    assert found["photos"][0]["faces"][0]["matches"][0]["external_id"] == "emp-17"
    run("users", "update", "external:emp-17", "--no-labels", "--name", "Ana")
    assert "emp-17" in run("users", "show", "external:emp-17").stdout
    assert json.loads(run("users", "list", "--label", "staff", "--json").stdout) == []
    assert "JSON object" in run("users", "update", "external:emp-17", "--metadata", "[1]", code=2).stderr
    run("users", "delete", "external:emp-17", "--yes")
    assert [user["name"] for user in json.loads(run("users", "list", "--json").stdout)] == ["b"]
