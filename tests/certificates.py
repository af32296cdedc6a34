"""Certificates made for one test: a server's own, and one of somebody else."""

import shutil
import subprocess
from pathlib import Path

from tests.services import missing


def make_certificates(folder: Path) -> None:
    """Write `server.crt`, self-signed for 127.0.0.1, its `server.key`, and `other.crt` of nobody we know."""
    program = shutil.which("openssl") or missing("openssl", "not installed")
    for name in ("server", "other"):
        subprocess.run(
            [
                *(program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
                *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
                *("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"),
            ],
            check=True,
            capture_output=True,
        )
