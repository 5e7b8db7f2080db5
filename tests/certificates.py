"""A site's CA and the certificates it gives out, made when a test needs them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from cadnode.dimse.tls import TlsFiles


class SiteCa:
    """A certificate authority; `ca.crt` in its folder is what those who trust it need."""

    def __init__(self, folder: Path, name: str = "site") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.file = folder / "ca.crt"
        self._authority = trustme.CA(organization_name=name)
        self._authority.cert_pem.write_to_path(str(self.file))

    def issue(
        self,
        owner: str,
        *names: str,
        days: float = 365,
        trusting: SiteCa | None = None,
    ) -> TlsFiles:
        """A certificate for `names` that expires in `days`, whose owner trusts this CA."""
        issued = self._authority.issue_cert(
            *(names or ("localhost", "127.0.0.1")),
            common_name=owner,
            not_before=datetime.now(UTC) - timedelta(days=400),
            not_after=datetime.now(UTC) + timedelta(days=days),
        )
        certificate, key = self.folder / f"{owner}.crt", self.folder / f"{owner}.key"
        certificate.unlink(missing_ok=True)
        for blob in issued.cert_chain_pems:
            blob.write_to_path(str(certificate), append=True)
        key.touch(mode=0o600)
        issued.private_key_pem.write_to_path(str(key))
        return TlsFiles(certificate, key, (trusting or self).file)
