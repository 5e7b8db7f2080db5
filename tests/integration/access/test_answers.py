"""What every answer says, and what is written down of those who ask."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from cadnode.console.access import UNKNOWN
from cadnode.core.audit import UserLogin, UserLogout
from tests.integration.access.site import STRANGER, WORD, cookies_of, post, sign_in, signed_in


class TestAnswers:
    def test_every_answer_says_what_a_browser_may_do_with_it(self, site):
        browser = signed_in(site)
        for path, status in (
            ("/account", 200),
            ("/static/cadnode.css", 200),
            ("/nowhere", 404),
            ("/api/v1/me", 200),
            ("/users/nobody", 404),
        ):
            answer = browser.get(path)
            assert answer.status_code == status
            headers = answer.headers
            assert "default-src 'self'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            static = path.startswith("/static")
            assert headers["cache-control"] == ("no-cache" if static else "no-store")
            assert "strict-transport-security" not in headers
            assert "server" not in headers

    def test_refusals_do_too(self, site):
        answer = site.browser().get("/", headers={"Host": "evil.example"})
        assert "default-src 'self'" in answer.headers["content-security-policy"]

    @pytest.mark.parametrize("path", ["/account", "/api/v1/me"])
    def test_an_answer_that_nobody_planned_does_too_and_tells_nothing(
        self, site, monkeypatch, path
    ):
        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("Patient^Name")

        monkeypatch.setattr(site.access, "signed_in", fail)
        browser = TestClient(
            site.app,
            base_url="http://127.0.0.1",
            client=("127.0.0.1", 1),
            raise_server_exceptions=False,
        )
        browser.cookies.set("cadnode_session", "x", domain="127.0.0.1", path="/")
        answer = browser.get(path)
        assert (answer.status_code, "E000" in answer.text) == (500, True)
        assert "Patient^Name" not in answer.text
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"

    def test_no_page_holds_what_the_policy_forbids(self, site):
        browser = signed_in(site)
        for path in ("/account", "/users", "/users/anna"):
            text = browser.get(path).text
            assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=", text), path

    def test_a_body_is_no_larger_than_a_form(self, site):
        browser = site.browser()
        answer = browser.post("/sign-in", content=b"x" * (1 << 20) + b"x")
        assert answer.status_code == 413
        answer = browser.post("/sign-in", content=iter([b"x"]))
        assert answer.status_code == 411

    def test_over_tls_cookies_have_names_that_nobody_else_can_set(self, site):
        site.add("anna")
        browser = site.browser(base="https://127.0.0.1")
        answer = sign_in(browser)
        (cookie,) = cookies_of(answer)
        assert cookie.startswith("__Host-cadnode_session=")
        assert {"Secure", "Path=/", "HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
        # Of this machine other programs may be asked without TLS.
        assert "strict-transport-security" not in answer.headers
        browser.cookies.set("cadnode_session", "planted", domain="127.0.0.1", path="/")
        assert browser.get("/api/v1/me").status_code == 200


class TestWhatIsWrittenDown:
    def test_sign_ins_sign_outs_and_refusals_go_to_the_audit_trail(self, site):
        browser = signed_in(site, address=STRANGER)
        post(browser, "/sign-out")
        sign_in(site.browser(STRANGER), word="not this one")
        sign_in(site.browser(STRANGER), "my password by mistake", "x")
        why = "there is no such user with this password"
        assert site.audit.events == [
            UserLogin("anna", STRANGER),
            UserLogout("anna", STRANGER),
            UserLogin("anna", STRANGER, why),
            UserLogin(UNKNOWN, STRANGER, why),
        ]

    def test_no_name_that_nobody_has_and_no_secret_is_logged(self, site, capsys):
        browser = signed_in(site)
        sign_in(site.browser(), "my password by mistake", "another mistake")
        said = "".join(capsys.readouterr())
        assert "signed in" in said
        assert "a sign-in was refused" in said
        for secret in ("mistake", WORD, browser.cookies["cadnode_session"]):
            assert secret not in said
