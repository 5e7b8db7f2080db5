"""Does our certificate serve? Tried out in memory, with both ends of a connection ours."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cadnode.core.errors import TlsUnusable
from cadnode.dimse.tls import TlsFiles, client_context, server_context


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """What a peer learns from our certificate once it has verified it."""

    names: tuple[str, ...]
    """Host names and addresses that it is for."""
    expires: datetime

    def days_left(self, now: datetime) -> int:
        """Whole days until it expires."""
        return (self.expires - now).days


def own_certificate(files: TlsFiles) -> OwnCertificate:
    """Shake hands with ourselves, our certificate on both ends.

    Raises TlsUnusable when a file does not serve, the certificate has expired, its chain does not
    end at our CA, or it is not for servers and clients alike.
    """
    asking = client_context(files)
    asking.check_hostname = False
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(to_client, to_server)
    server = server_context(files).wrap_bio(to_server, to_client, server_side=True)
    _shake_hands(client, "as a server")
    _shake_hands(server, "as a client")
    # Once more each: the server's part needs the client's certificate, which comes last.
    for _ in range(2):
        _shake_hands(client, "as a server")
        _shake_hands(server, "as a client")
    shown = client.getpeercert()
    if not shown:
        raise TlsUnusable("tls.certificate: the trial connection did not come about")
    names: Any = shown.get("subjectAltName", ())
    expires = ssl.cert_time_to_seconds(str(shown["notAfter"]))
    return OwnCertificate(
        names=tuple(str(name) for _kind, name in names),
        expires=datetime.fromtimestamp(expires, UTC),
    )


def _shake_hands(end: ssl.SSLObject, role: str) -> None:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return
    except ssl.SSLCertVerificationError as error:
        raise TlsUnusable(
            f"tls.certificate: not accepted {role}: {error.verify_message}"
        ) from error
    except ssl.SSLError as error:
        raise TlsUnusable(f"tls.certificate: not accepted {role}: {error.reason}") from error
