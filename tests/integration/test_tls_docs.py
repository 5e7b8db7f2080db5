"""The commands in docs/operations.md that make a site's certificates do make them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cadnode.dimse.tls import TlsFiles
from cadnode.dimse.tls_check import own_certificate
from tests.peers import require

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def test_the_openssl_commands_make_certificates_that_serve(tmp_path: Path) -> None:
    require("openssl", "openssl")
    section = OPERATIONS.read_text().partition("\n## TLS\n")[2].partition("\n## ")[0]
    commands = section.partition("```bash\n")[2].partition("```")[0]
    assert commands.count("openssl ") == 5

    subprocess.run(["bash", "-e", "-c", commands], cwd=tmp_path, check=True, capture_output=True)

    name = tmp_path / "cadnode.example"
    found = own_certificate(
        TlsFiles(
            name.with_suffix(".example.crt"), name.with_suffix(".example.key"), tmp_path / "ca.crt"
        )
    )
    assert found.names == ("cadnode.example", "10.0.0.5")
