"""The addresses and certificates of the service."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pgface.errors import SettingsError
from pgface.server.sockets import Listening
from support.certificates import make_certificate
from support.sentences import service as says

NO_FILE = "no such file or directory"


@pytest.mark.parametrize(
    ("host", "secure", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:8000/"),
        ("::1", False, "http://[::1]:8000/"),
        ("faces.example.org", True, "https://faces.example.org:8000/"),
        ("0.0.0.0", False, "http://localhost:8000/"),  # noqa: S104 - only compared
        ("::", True, "https://localhost:8000/"),
    ],
)
def test_the_url_contains_a_host_that_clients_can_open(host: str, secure: bool, url: str) -> None:
    assert Listening(host, 0, Path("c.pem") if secure else None).url(8000) == url


def test_the_service_listens_at_every_address_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        # No machine has 192.0.2.1, an address for documentation (RFC 5737). Without IPv6, no machine has ::1 either.
        lambda _, port, **more: [
            one for host in ("127.0.0.1", "192.0.2.1", "127.0.0.2") for one in real(host, port, **more)
        ],
    )
    with Listening("several", 0).sockets() as sockets:
        (first, port), second = (one.getsockname() for one in sockets)
        assert (first, second) == ("127.0.0.1", ("127.0.0.2", port))
        with socket.socket() as client:
            client.connect(second)
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(second)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="IPv6 is disabled on this machine")
def test_all_networks_of_ipv6_include_ipv4() -> None:
    with Listening("::", 0).sockets() as (server,):
        port = server.getsockname()[1]
        for address in ("::1", "127.0.0.1"):
            socket.create_connection((address, port), timeout=10).close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="IPv6 is disabled on this machine")
def test_an_ipv6_address_does_not_include_ipv4() -> None:
    with Listening("::1", 0).sockets() as (server,), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.getsockname()[1]), timeout=10)


def test_a_port_in_use() -> None:
    with Listening("127.0.0.1", 0).sockets() as (taken,):
        port = taken.getsockname()[1]
        sentence = says.CANNOT_LISTEN.pattern(host="127.0.0.1", port=port, reason="address already in use")
        with pytest.raises(SettingsError, match=f"^{sentence}"), Listening("127.0.0.1", port).sockets():
            pass


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "a" * 300, "two words"])
def test_a_host_that_this_machine_does_not_have(host: str) -> None:
    not_here = says.CANNOT_LISTEN.pattern(host=host, port=0, reason="cannot assign requested address")
    without_address = says.HOST_HAS_NO_ADDRESS.pattern(host=host[:80])
    with pytest.raises(SettingsError, match=f"{not_here}|{without_address}"), Listening(host, 0).sockets():
        pass


# TLS


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def test_a_certificate_with_its_key(pair: tuple[Path, Path], tmp_path: Path) -> None:
    certificate, key = pair
    Listening("127.0.0.1", 0, certificate, key).require_usable_tls()
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + certificate.read_text())
    Listening("127.0.0.1", 0, both).require_usable_tls()
    Listening("127.0.0.1", 0).require_usable_tls()


def test_certificates_that_cannot_be_used(pair: tuple[Path, Path], tmp_path: Path) -> None:
    certificate, key = pair
    _, encrypted = make_certificate(tmp_path, "-passout", "pass:secret")
    (other := tmp_path / "other").mkdir()
    _, others = make_certificate(other)
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    missing = tmp_path / "missing.pem"
    for given, sentence in {
        (None, key): says.KEY_WITHOUT_CERTIFICATE,
        (missing, key): says.FILES_CANNOT_BE_READ.format(files=f"{missing} or {key}", reason=NO_FILE),
        (certificate, missing): says.FILES_CANNOT_BE_READ.format(files=f"{certificate} or {missing}", reason=NO_FILE),
        (tmp_path, None): says.FILES_CANNOT_BE_READ.format(files=tmp_path, reason="is a directory"),
        (nothing, key): says.CERTIFICATE_CANNOT_BE_USED.format(certificate=nothing),
        (certificate, None): says.CERTIFICATE_CANNOT_BE_USED.format(certificate=certificate),
        (certificate, others): says.GIVE_BOTH_AS_PEM.format(reason="KEY_VALUES_MISMATCH"),
        (certificate, encrypted): says.KEY_IS_ENCRYPTED,
    }.items():
        with pytest.raises(SettingsError) as error:
            Listening("127.0.0.1", 0, *given).require_usable_tls()
        assert sentence in str(error.value)
