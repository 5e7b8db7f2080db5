"""The certificate that the console shows to browsers."""

from __future__ import annotations

import ssl

from cadnode.config import Settings
from cadnode.dimse.tls import RenewedContext, console_context


def web_tls(settings: Settings) -> ssl.SSLContext | None:
    """How the console encrypts; None when it does not.

    The next connection takes up a renewed certificate. Raises TlsUnusable.
    """
    certificate, key = settings.web_certificate
    if not settings.web.tls or certificate is None or key is None:
        return None
    files = certificate, key
    renewed = RenewedContext(lambda: console_context(*files), *files)
    context = renewed.current()

    def take_up(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = renewed.current()

    context.sni_callback = take_up
    return context
