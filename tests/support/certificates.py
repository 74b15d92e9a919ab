"""Certificates for tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def make_certificate(folder: Path, *more: str) -> tuple[Path, Path]:
    """A certificate of localhost that nobody has issued, and its key, which `more` may have encrypted."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes certificates, is not on this machine")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 2 -subj /CN=localhost"
    named = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run([*command.split(), *named, *(more or ("-nodes",))], check=True, capture_output=True)
    return certificate, key
