"""A gallery and its pages, served by `pgface serve`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page

from pgface.accounts.sessions import begin_session
from pgface.gallery import Gallery
from pgface.server.service import COOKIE
from pgface.settings import Settings
from support.databases import create_database, drop_database
from support.galleries import ODD_SCHEMA
from support.serve import serving as serving_process
from support.service_role import service_role
from support.web_server import environment


@dataclass(frozen=True)
class Service:
    """A gallery, and the URL of its pages."""

    gallery: Gallery
    address: str

    def new_login(self, email: str) -> str:
        """Return the token of a new login."""
        user = self.gallery.user(email)
        with self.gallery.database.transaction() as connection:
            return begin_session(connection, user.id, confidence=1.0, password_given=True, seconds=3600).token

    def log_in(self, page: Page, email: str) -> None:
        """Log a user in without the login page, which saves the time to hash a password."""
        self.set_login_cookie(page, self.new_login(email))

    def set_login_cookie(self, page: Page, token: str) -> None:
        """Put the token of a login into the browser's cookie."""
        page.context.add_cookies([{"name": COOKIE, "value": token, "domain": "localhost", "path": "/", "secure": True}])


@contextmanager
def new_gallery(server_url: str, pack: Path, folder: Path) -> Iterator[Gallery]:
    """Create a gallery in a new database, and drop the database when the block ends."""
    url = create_database(server_url)
    try:
        settings = Settings.model_validate(
            {"database_url": url, "PGFACE_SCHEMA": ODD_SCHEMA, "data_dir": folder / "data"}
        )
        with Gallery.create(settings, model=str(pack)) as gallery:
            yield gallery
    finally:
        drop_database(server_url, url)


@contextmanager
def serving(gallery: Gallery, folder: Path, **variables: str) -> Iterator[Service]:
    """Serve the pages in a process with the service's role until the block ends. Its log is in the folder.

    The address has the name `localhost`, where browsers allow cameras. A traceback in the log fails the test.
    """
    with (
        service_role(gallery.settings) as settings,
        serving_process(environment(settings, **variables), folder) as served,
    ):
        yield Service(gallery, served.url.replace("127.0.0.1", "localhost"))
        served.end(signal.SIGINT)
    log = served.log.read_text("utf-8")
    assert "Traceback" not in log, log
