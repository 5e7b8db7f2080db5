"""The console on a real port, over TLS, with a browser's eyes."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from cadnode.app import App
from cadnode.config import load_settings
from cadnode.console import open_console
from cadnode.console.access import open_access
from cadnode.console.tls import web_tls
from cadnode.core.accounts import Role
from cadnode.core.errors import TlsUnusable
from cadnode.dimse.tls import TlsFiles
from cadnode.web import accounts
from cadnode.web.server import create_app
from cadnode.web.serving import WebServer, WebSettings
from tests.certificates import SiteCa
from tests.integration.access.site import WORD, token_on

NAME = "cad.hospital.example"


def settings_for(folder: Path, files: TlsFiles, web: str = "") -> App:
    config = folder / "cadnode.toml"
    config.write_text(
        f'[node]\ndata_dir = "data"\n[tls]\ncertificate = "{files.certificate}"\n'
        f'key = "{files.key}"\nca = "{files.ca}"\n[web]\ntls = true\nhosts = ["{NAME}"]\n{web}'
    )
    return App(load_settings(config, {}))


@pytest.fixture
def ca(tmp_path: Path) -> SiteCa:
    return SiteCa(tmp_path / "ca")


@contextmanager
def running(app: App) -> Iterator[WebServer]:
    store = app.open_store(create=True)
    web = create_app(open_console(app, store), (accounts,))
    server = WebServer(web, WebSettings("127.0.0.1", 0, web_tls(app.settings)))
    server.start()
    try:
        yield server
    finally:
        server.stop()
        store.close()


def trusting(ca: SiteCa) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca.file))


def serial(port: int, ca: SiteCa) -> str:
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        trusting(ca).wrap_socket(plain, server_hostname="localhost") as encrypted,
    ):
        shown = encrypted.getpeercert()
        assert shown is not None
        return str(shown["serialNumber"])


def test_somebody_signs_in_over_tls_and_the_cookie_never_goes_out_in_clear(tmp_path, ca):
    app = settings_for(tmp_path, ca.issue("node", "localhost", NAME, "127.0.0.1"))
    with (
        running(app) as server,
        httpx.Client(verify=trusting(ca), base_url=f"https://localhost:{server.port}") as browser,
    ):
        store = app.open_store()
        open_access(app, store).add_user("anna", Role.ADMIN, WORD, by="test")
        store.close()
        page = browser.get("/sign-in")
        form = {"name": "anna", "password": WORD, "csrf_token": token_on(page)}
        origin = {"Origin": f"https://localhost:{server.port}", "Sec-Fetch-Site": "same-origin"}
        answer = browser.post("/sign-in", data=form, headers=origin)
        assert answer.status_code == 303
        (cookie,) = answer.headers.get_list("set-cookie")
        assert cookie.startswith("__Host-cadnode_session=")
        assert {"Secure", "HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert browser.get("/account").status_code == 200
        by_name = browser.get("/sign-in", headers={"Host": f"{NAME}:{server.port}"})
        assert by_name.headers["strict-transport-security"] == "max-age=31536000"
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://localhost:{server.port}/sign-in")


def test_a_browser_without_forward_secrecy_is_not_answered(tmp_path, ca):
    with running(settings_for(tmp_path, ca.issue("node"))) as server:
        context = trusting(ca)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-GCM-SHA256")
        with (
            socket.create_connection(("127.0.0.1", server.port)) as plain,
            pytest.raises((ssl.SSLError, ConnectionResetError)),
        ):
            context.wrap_socket(plain, server_hostname="localhost")


def test_a_renewed_certificate_is_shown_to_the_next_browser(tmp_path, ca):
    app = settings_for(tmp_path, ca.issue("node"))
    with running(app) as server:
        first = serial(server.port, ca)
        assert serial(server.port, ca) == first
        ca.issue("node")
        second = serial(server.port, ca)
        assert second != first
        # Files that do not serve change nothing.
        (ca.folder / "node.crt").write_text("rubbish")
        assert serial(server.port, ca) == second


def test_the_console_may_have_a_certificate_of_its_own(tmp_path, ca):
    own = ca.issue("web")
    app = settings_for(
        tmp_path, ca.issue("node"), f'certificate = "{own.certificate}"\nkey = "{own.key}"\n'
    )
    assert app.settings.web_certificate == (own.certificate, own.key)
    with running(app) as server:
        assert serial(server.port, ca)


def test_a_key_that_others_may_read_is_refused_at_the_start(tmp_path, ca):
    files = ca.issue("node")
    files.key.chmod(0o644)
    with pytest.raises(TlsUnusable, match="open to others"):
        web_tls(settings_for(tmp_path, files).settings)


def test_without_tls_there_is_no_context(tmp_path):
    config = tmp_path / "cadnode.toml"
    config.write_text("")
    assert web_tls(load_settings(config, {})) is None
