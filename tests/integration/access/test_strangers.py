"""What other sites, other names and proxies get from the console."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from cadnode.core.audit import UserLogin
from cadnode.web.access import csrf
from tests.integration.access.site import (
    NAME,
    PROXY,
    STRANGER,
    WORD,
    Site,
    cookies_of,
    sign_in,
    signed_in,
    site_with,
    token_on,
)


class TestForgery:
    def test_a_change_without_the_token_of_the_session_is_refused(self, site):
        browser = signed_in(site)
        form = {"name": "eve", "role": "viewer", "password": WORD, "again": WORD}
        other = token_on(signed_in(site).get("/account"))
        visit = token_on(site.browser().get("/sign-in"))
        for token in ("", "0" * 64, other, visit, "ä"):
            answer = browser.post("/users", data={**form, "csrf_token": token})
            assert (answer.status_code, "E902" in answer.text) == (403, True), token
            answer = browser.post(
                "/api/v1/users",
                json={"name": "eve", "role": "viewer", "password": WORD},
                headers={b"X-CSRF-Token": token.encode()},
            )
            assert (answer.status_code, answer.json()["code"]) == (403, "E902"), token
        assert [account.name for account in site.accounts.accounts()] == ["anna"]

    def test_nor_one_that_begins_at_another_site_even_with_it(self, site):
        browser = signed_in(site)
        form = {"csrf_token": token_on(browser.get("/account"))}
        for headers in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1.evil.example"},
            {"Origin": "http://127.0.0.1:99999"},
            {"Origin": ""},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            answer = browser.post("/sign-out", data=form, headers=headers)
            assert answer.status_code == 403, headers
        assert browser.get("/api/v1/me").status_code == 200
        for headers in ({"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"},):
            assert browser.post("/sign-out", data=form, headers=headers).status_code == 303

    def test_other_sites_cannot_use_pictures_of_ours(self, site):
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
        assert site.browser().get("/account", headers=headers).status_code == 403

    def test_a_token_of_the_api_needs_no_other(self, site):
        browser = signed_in(site)
        made = browser.post(
            "/api/v1/me/tokens",
            json={"name": "script", "role": "admin"},
            headers={"X-CSRF-Token": token_on(browser.get("/account"))},
        )
        assert made.status_code == 201
        program = site.browser(STRANGER)
        program.headers["Authorization"] = f"Bearer {made.json()['token']}"
        body = {"name": "bert", "role": "viewer", "password": WORD}
        assert program.post("/api/v1/users", json=body).status_code == 201

    def test_where_there_is_a_token_the_cookie_does_not_count(self, site):
        browser = signed_in(site)
        for value in ("Bearer wrong", "Basic YW5uYTp4", "Bearer", "x"):
            answer = browser.get("/api/v1/me", headers={"Authorization": value})
            assert answer.status_code == 401, value
            answer = browser.post(
                "/api/v1/users",
                json={"name": "eve", "role": "admin", "password": WORD},
                headers={"Authorization": value},
            )
            assert answer.status_code == 401, value


def test_the_token_of_a_page_is_not_the_cookie_itself():
    assert csrf.token_from("secret") != csrf.token_from("secret2")
    assert "secret" not in csrf.token_from("secret")


class TestNames:
    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "",
            "localhost.evil",
            "[::2]",
        ],
    )
    def test_a_name_that_is_not_ours_gets_nothing(self, site, host):
        for path in ("/", "/api/v1/me", "/static/cadnode.css", "/sign-in"):
            answer = site.browser().get(path, headers={"Host": host})
            assert answer.status_code == 400, path
            assert "[web] hosts" in answer.text

    def test_names_in_the_settings_are_ours(self, tmp_path):
        with site_with(tmp_path, f'hosts = ["{NAME.upper()}"]\n') as site:
            site.add("anna")
            browser = site.browser(STRANGER, f"http://{NAME}:8080")
            assert sign_in(browser).status_code == 303
            origin = {"Origin": f"http://{NAME}:8080"}
            form = {"csrf_token": token_on(browser.get("/account"))}
            assert browser.post("/sign-out", data=form, headers=origin).status_code == 303

    def test_the_address_that_we_listen_on_is_ours(self, site):
        # The test client says that it reached the host it asks for.
        site.add("anna")
        browser = site.browser(STRANGER, "http://10.0.0.7:8080")
        assert browser.get("/sign-in").status_code == 200
        assert browser.get("/sign-in", headers={"Host": "10.0.0.8:8080"}).status_code == 400

    def test_before_there_is_a_user_a_name_in_the_settings_is_not_this_machine(self, tmp_path):
        with site_with(tmp_path, f'hosts = ["{NAME}"]\n') as site:
            browser = site.browser("127.0.0.1", f"http://{NAME}")
            assert browser.get("/api/v1/me").status_code == 401


class TestProxies:
    SETTINGS = f'host = "0.0.0.0"\ntrusted_proxies = ["{PROXY}"]\nhosts = ["{NAME}"]\n'

    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[Site]:
        with site_with(tmp_path, self.SETTINGS) as site:
            site.add("anna")
            yield site

    def browser(self, site: Site, peer: str = PROXY, client: str = STRANGER) -> TestClient:
        browser = site.browser(peer, f"http://{NAME}")
        browser.headers["X-Forwarded-For"] = client
        browser.headers["X-Forwarded-Proto"] = "https"
        return browser

    def test_behind_a_proxy_that_encrypts_the_cookie_is_for_encrypted_connections(self, site):
        browser = self.browser(site)
        page = browser.get("/sign-in")
        # The test client itself speaks http and would keep the cookies back.
        (visit,) = cookies_of(page)
        form = {"name": "anna", "password": WORD, "csrf_token": token_on(page)}
        answer = browser.post(
            "/sign-in",
            data=form,
            headers={"Cookie": visit.split(";")[0], "Origin": f"https://{NAME}"},
        )
        assert answer.status_code == 303
        (cookie,) = cookies_of(answer)
        assert cookie.startswith("__Host-cadnode_session=")
        assert "Secure" in cookie.split("; ")
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert site.audit.events == [UserLogin("anna", STRANGER)]

    def test_only_the_nearest_address_the_proxy_does_not_vouch_for_counts(self, site):
        codes = []
        for number in range(8):
            browser = self.browser(site, client=f"198.51.100.{number}, {STRANGER}, {PROXY}")
            page = browser.get("/sign-in")
            form = {"name": f"u{number}", "password": "x", "csrf_token": token_on(page)}
            visit = cookies_of(page)[0].split(";")[0]
            answer = browser.post("/sign-in", data=form, headers={"Cookie": visit})
            codes.append(answer.status_code)
        assert codes == [401] * 6 + [429] * 2

    def test_who_comes_around_the_proxy_gets_nothing(self, site):
        answer = self.browser(site, peer="10.0.0.3").get("/sign-in")
        assert (answer.status_code, "come by the proxy" in answer.text) == (403, True)

    def test_through_the_proxy_nobody_is_at_the_machine(self, tmp_path):
        with site_with(tmp_path / "new", 'trusted_proxies = ["127.0.0.1"]\n') as site:
            for forwarded in ({}, {"X-Forwarded-For": "127.0.0.1"}):
                browser = site.browser()
                assert browser.get("/api/v1/me", headers=forwarded).status_code == 401
