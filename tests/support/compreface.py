"""CompreFace's side of a service in this process: keys, requests and errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from httpx2 import Response

from pgface.accounts import Client
from pgface.accounts.compreface_keys import create_compreface_key
from support.web_service import Headers, Served, file

UNKNOWN_ID = "11111111-2222-3333-4444-555555555555"


@dataclass(frozen=True)
class Caller:
    """A client with a key of one service."""

    api: Served
    service: str
    key: str

    @property
    def headers(self) -> Headers:
        return {"x-api-key": self.key}

    def send(self, method: str, path: str, **arguments: Any) -> Response:
        return self.api.client.request(method, f"/api/v1/{self.service}{path}", headers=self.headers, **arguments)

    def done(self, method: str, path: str, status: int = 200, **arguments: Any) -> Any:
        """Send a request, check its status, and return the JSON of the response."""
        response = self.send(method, path, **arguments)
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/json"
        return response.json()

    def error(self, method: str, path: str, **arguments: Any) -> tuple[int, int, str]:
        """Send a request that is refused, and return the status, the code and the message."""
        response = self.send(method, path, **arguments)
        body = response.json()
        assert body.keys() == {"message", "code"}, body
        return response.status_code, body["code"], body["message"]

    def add(self, subject: str, photo: bytes) -> str:
        """Add an example, and return its id."""
        added = self.done("POST", "/faces", 201, params={"subject": subject}, files={"file": file(photo)})
        assert added["subject"] == subject
        return str(added["image_id"])


def caller(api: Served, service: str = "recognition", gallery: str | None = None) -> Caller:
    key, _ = create_compreface_key(api.owner.database, "a client", service, Client(), gallery=gallery)
    return Caller(api, service, key)
