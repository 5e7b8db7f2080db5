"""Messages by webhook: one POST of JSON, signed when there is a secret.

`Cadnode-Signature: v1=` + HMAC-SHA256, in hexadecimal digits, of the header `Cadnode-Timestamp`
(seconds since 1970), a full stop, and the body as it was sent. A receiver that refuses old
timestamps cannot be told the same twice by somebody else.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cadnode import __version__
from cadnode.core.errors import NoticeNotSent
from cadnode.core.notices import Message, as_json

SECONDS = 15.0
TIMESTAMP, SIGNATURE = "Cadnode-Timestamp", "Cadnode-Signature"


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where messages are posted."""

    url: str
    secret_file: Path | None = None
    """Both files are read at each message: new ones need no restart."""
    bearer_file: Path | None = None
    ca: Path | None = None
    seconds: float = SECONDS


class WebhookChannel:
    """A `Channel` that posts each message to one address."""

    name = "webhook"

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook

    def send(self, message: Message) -> str:
        """Post it; any answer of 2xx is a yes. Redirects are not followed."""
        webhook = self._webhook
        body = json.dumps(as_json(message)).encode()
        with _translated(_shown(webhook.url)):
            request = urllib.request.Request(  # noqa: S310  the settings take http and https only
                webhook.url, data=body, headers=self._headers(message, body), method="POST"
            )
            context = ssl.create_default_context(cafile=webhook.ca)
            opener = urllib.request.build_opener(
                urllib.request.HTTPSHandler(context=context), _NoRedirects()
            )
            with opener.open(request, timeout=webhook.seconds) as answer:
                return f"{_shown(webhook.url)} answered {answer.status}"

    def _headers(self, message: Message, body: bytes) -> Mapping[str, str]:
        timestamp = str(int(message.sent_at.timestamp()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"cadnode/{__version__}",
            # A receiver that has seen it already knows it by this.
            "Idempotency-Key": message.id,
            TIMESTAMP: timestamp,
        }
        if self._webhook.bearer_file is not None:
            headers["Authorization"] = f"Bearer {_secret(self._webhook.bearer_file)}"
        if self._webhook.secret_file is not None:
            secret = _secret(self._webhook.secret_file)
            headers[SIGNATURE] = f"v1={signature(secret, timestamp, body)}"
        return headers


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        """urllib would ask again by GET, without the body."""


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What a receiver computes to know the message is ours."""
    signed = timestamp.encode() + b"." + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


@contextmanager
def _translated(where: str) -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        raise NoticeNotSent(f"{where} answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        why = error.reason
        text = why.strerror if isinstance(why, OSError) and why.strerror else why
        raise NoticeNotSent(f"{where}: {text}") from error
    except (http.client.HTTPException, ValueError) as error:
        raise NoticeNotSent(f"{where}: {type(error).__name__}") from error
    except OSError as error:
        raise NoticeNotSent(f"{where}: {error.strerror or error}") from error


def _secret(file: Path) -> str:
    return file.read_text(encoding="utf-8").strip()


def _shown(url: str) -> str:
    """The address without what may be secret in it: account, path and query."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"
