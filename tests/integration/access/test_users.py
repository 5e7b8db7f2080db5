"""What each role may do, and what an admin does with users."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from cadnode.core.accounts import Role
from cadnode.web.accounts.pages import browser_name
from cadnode.web.server import FEATURES
from tests.integration.access.site import (
    WORD,
    Site,
    post,
    sign_in,
    signed_in,
    site_with,
    token_on,
    twice,
)


def every_route(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of every route, with 1 for each parameter."""
    for context in iter_route_contexts(app.routes):
        for method in sorted(context.methods or ()):
            yield method, re.sub(r"\{[^}]*\}", "1", context.path or "")


class TestRoles:
    """Every route that changes something, found in the application itself."""

    PUBLIC = ("/sign-in", "/sign-out")
    SEARCHES = ("/exams", "/exams/csv", "/api/v1/exams/search", "/api/v1/exams/search.csv")
    """They change nothing; what is searched for shall not stand in an address."""

    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[Site]:
        with site_with(tmp_path, features=FEATURES) as site:
            yield site

    def routes(self, site: Site) -> Iterator[tuple[str, str]]:
        for method, path in every_route(site.app):
            if method not in ("GET", "HEAD", "OPTIONS") and path not in self.PUBLIC:
                yield method, path

    def test_there_are_some(self, site):
        assert len(list(self.routes(site))) > 15

    def test_nobody_may_do_any_of_it(self, site):
        site.add("anna")
        for method, path in self.routes(site):
            answer = site.browser().request(method, path)
            expected = 401 if path.startswith("/api/") else 403
            assert answer.status_code == expected, path
            token = {"Authorization": "Bearer wrong"}
            answer = site.browser().request(method, path, headers=token)
            assert answer.status_code in (303, 401), path

    def test_no_cookie_alone_does_any_of_it(self, site):
        browser = signed_in(site)
        for method, path in self.routes(site):
            assert browser.request(method, path).status_code == 403, path

    def test_a_viewer_changes_nothing_but_the_own_account(self, site):
        site.add("anna")
        browser = signed_in(site, "vera", Role.VIEWER)
        browser.headers["X-CSRF-Token"] = token_on(browser.get("/account"))
        for method, path in self.routes(site):
            if path.startswith(("/account/", "/api/v1/me/")) or path in self.SEARCHES:
                continue
            assert browser.request(method, path).status_code == 403, path

    def test_an_operator_does_nothing_about_accounts(self, site):
        site.add("anna")
        browser = signed_in(site, "otto", Role.OPERATOR)
        browser.headers["X-CSRF-Token"] = token_on(browser.get("/account"))
        about = ("/users", "/api/v1/users", "/api/v1/tokens", "/api/v1/account-changes")
        tried = [r for r in self.routes(site) if r[1].startswith(about)]
        assert len(tried) > 8
        for method, path in tried:
            assert browser.request(method, path).status_code == 403, path
        for path in about:
            assert browser.get(path).status_code == 403

    def test_no_page_with_data_is_shown_to_nobody(self, site):
        site.add("anna")
        open_to_all = {
            "/sign-in",
            "/sign-in/provider",
            "/sign-in/provider/arrival",
            "/api/v1/openapi.json",
        }
        machines = {"/healthz", "/readyz", "/metrics"}
        looked_at = 0
        for method, path in every_route(site.app):
            if method != "GET" or path in open_to_all | machines:
                continue
            answer = site.browser().get(path)
            assert answer.status_code in (303, 401), path
            looked_at += 1
        assert looked_at > 10


class TestUsers:
    def api(self, site: Site) -> TestClient:
        browser = signed_in(site)
        browser.headers["X-CSRF-Token"] = token_on(browser.get("/account"))
        return browser

    def test_programs_do_what_the_pages_do(self, site):
        api = self.api(site)
        body = {"name": "Bert", "role": "viewer", "password": WORD}
        assert api.post("/api/v1/users", json=body).json()["name"] == "bert"
        assert api.post("/api/v1/users", json=body).status_code == 409
        assert [user["name"] for user in api.get("/api/v1/users").json()] == ["anna", "bert"]
        assert api.put("/api/v1/users/bert/role", json={"role": "operator"}).status_code == 204
        assert api.get("/api/v1/users/bert").json()["role"] == "operator"
        new = {"password": "another long one"}
        assert api.put("/api/v1/users/bert/password", json=new).status_code == 204
        assert sign_in(site.browser(), "bert", new["password"]).status_code == 303
        assert api.delete("/api/v1/users/bert").status_code == 204
        assert api.get("/api/v1/users/bert").status_code == 404
        assert api.delete("/api/v1/users/anna").status_code == 409
        assert api.put("/api/v1/users/anna/role", json={"role": "viewer"}).status_code == 409

    def test_an_admin_sees_who_changed_what(self, site):
        api = self.api(site)
        api.post("/api/v1/users", json={"name": "bert", "role": "viewer", "password": WORD})
        newest = api.get("/api/v1/account-changes").json()[0]
        assert (newest["text"], newest["actor"]) == ("User bert was added as viewer.", "anna")
        assert "User bert was added as viewer." in api.get("/users").text

    def test_a_new_password_ends_the_wait_of_whoever_forgot_the_old_one(self, site):
        api = self.api(site)
        site.add("bert", Role.VIEWER)
        for _ in range(3):
            sign_in(site.browser(), "bert", "not this one")
        assert sign_in(site.browser(), "bert").status_code == 429
        api.put("/api/v1/users/bert/password", json={"password": "another long one"})
        assert sign_in(site.browser(), "bert", "another long one").status_code == 303

    def test_pages_say_what_was_done_or_why_not(self, site):
        anna = signed_in(site)
        form = {"name": "bert", "role": "viewer", "password": WORD, "again": WORD}
        assert "bert can sign in now" in post(anna, "/users", **form).text
        again = post(anna, "/users", **form)
        assert (again.status_code, "already" in again.text) == (422, True)
        assert "bert" in anna.get("/users/bert").text
        assert anna.get("/users/nobody").status_code == 404
        assert "last admin" in post(anna, "/users/anna/remove").text
        assert "last admin" in post(anna, "/users/anna/role", role="viewer").text
        assert "no such role" in post(anna, "/users/bert/role", role="root").text
        done = post(anna, "/users/bert/password", password="x" * 20, again="y" * 20)
        assert "differ" in done.text
        done = post(anna, "/users/bert/password", **twice("a new one, long"))
        assert "has a new password" in done.text

    @pytest.mark.parametrize("number", ["0", "-1", "x", "9" * 30])
    def test_a_number_that_is_none_of_ours_is_said_to_be_so(self, site, number):
        anna = signed_in(site)
        for path in (
            f"/account/tokens/{number}/revoke",
            f"/account/sessions/{number}/end",
            f"/users/tokens/{number}/revoke",
        ):
            assert post(anna, path).status_code == 422, path
        form = {"name": "x", "role": "viewer", "days": number}
        assert post(anna, "/account/tokens", **form).status_code == 422

    @pytest.mark.parametrize("name", ["\0", "x" * 4000, "\N{SNOWMAN}", "../anna", "%00"])
    def test_a_name_that_cannot_be_is_nobodys(self, site, name):
        anna = signed_in(site)
        assert sign_in(site.browser(), name, "x").status_code == 401
        assert anna.get(f"/users/{quote(name)}").status_code in (404, 422)
        form = {"name": name, "role": "viewer", "password": WORD, "again": WORD}
        assert post(anna, "/users", **form).status_code == 422

    def test_who_changes_themselves_is_where_that_leads(self, site):
        anna = signed_in(site)
        site.add("bert")
        answer = post(anna, "/users/anna/password", **twice("a new long one"))
        assert answer.headers["location"] == "/sign-in"
        sign_in(anna, word="a new long one")
        assert post(anna, "/users/anna/role", role="viewer").headers["location"] == "/account"
        assert anna.get("/users").status_code == 403

    @pytest.mark.parametrize(
        ("called", "name"),
        [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Firefox/128.0",
                "Firefox on Windows",
            ),
            ("Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0 Safari/537.36", "Chrome on Linux"),
            ("Mozilla/5.0 (Windows NT 10.0) Chrome/126.0 Safari/537 Edg/126.0", "Edge on Windows"),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17 like Mac OS X) Safari/604",
                "Safari on an iPhone",
            ),
            ("curl/8.0 (Linux)", "A browser on Linux"),
            ("curl/8.0", "unknown"),
            ("", "unknown"),
        ],
    )
    def test_a_browser_has_the_name_that_people_give_it(self, called, name):
        assert browser_name(called) == name

    def test_what_a_stranger_calls_themselves_is_shown_as_text(self, site):
        browser = site.browser()
        browser.headers["User-Agent"] = "<script>alert(1)</script>"
        site.add("anna")
        sign_in(browser)
        assert "<script>alert" not in browser.get("/account").text
        refused = sign_in(site.browser(), '"><script>alert(1)</script>', "x")
        assert "<script>alert" not in refused.text
