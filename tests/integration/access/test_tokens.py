"""Tokens of programs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from cadnode.core.accounts import Role
from tests.integration.access.site import STRANGER, WORD, Response, Site, post, signed_in, token_on


class TestTokens:
    def make(self, browser: TestClient, **body: Any) -> Response:
        token = token_on(browser.get("/account"))
        body = {"name": "script", **body}
        return browser.post("/api/v1/me/tokens", json=body, headers={"X-CSRF-Token": token})

    def program(self, site: Site, token: str) -> TestClient:
        program = site.browser(STRANGER)
        program.headers["Authorization"] = f"Bearer {token}"
        return program

    def test_a_token_is_shown_once_and_then_no_more(self, site):
        browser = signed_in(site)
        page = post(browser, "/account/tokens", name="script", role="viewer", days="7")
        found = re.search(r"cadnode_[\w-]{43}", page.text)
        assert found
        assert self.program(site, found[0]).get("/api/v1/me").json() == {
            "name": "anna",
            "role": "viewer",
            "means": "token",
        }
        assert found[0] not in browser.get("/account").text
        assert found[0] not in browser.get("/api/v1/me/tokens").text
        assert found[0] not in browser.get("/users").text

    def test_it_does_what_its_role_may_and_ends_when_it_is_over_or_revoked(self, site):
        browser = signed_in(site)
        made = self.make(browser, role="viewer", days=1).json()
        program = self.program(site, made["token"])
        assert program.get("/api/v1/users").status_code == 403
        site.pass_time(hours=24)
        assert program.get("/api/v1/me").status_code == 401
        browser = signed_in(site)
        made = self.make(browser, role="admin").json()
        program = self.program(site, made["token"])
        assert program.get("/api/v1/users").status_code == 200
        assert post(browser, f"/account/tokens/{made['id']}/revoke").status_code == 200
        assert program.get("/api/v1/users").status_code == 401
        assert program.get("/api/v1/users").headers["www-authenticate"] == "Bearer"

    def test_a_token_makes_no_token_and_no_password(self, site):
        program = self.program(site, self.make(signed_in(site), role="admin").json()["token"])
        assert program.post("/api/v1/me/tokens", json={"name": "more"}).status_code == 403
        body = {"old": WORD, "password": "another long one"}
        assert program.put("/api/v1/me/password", json=body).status_code == 403

    def test_nobody_makes_one_that_may_do_more_than_they(self, site):
        site.add("anna")
        vera = signed_in(site, "vera", Role.VIEWER)
        answer = self.make(vera, role="operator")
        assert (answer.status_code, answer.json()["code"]) == (409, "E905")

    @pytest.mark.parametrize("body", [{"days": 0}, {"days": 3651}, {"name": ""}, {"role": "root"}])
    def test_what_makes_no_sense_is_refused(self, site, body):
        assert self.make(signed_in(site), **body).status_code == 422

    def test_another_ones_token_is_not_theirs_to_revoke(self, site):
        made = self.make(signed_in(site)).json()
        vera = signed_in(site, "vera", Role.VIEWER)
        assert post(vera, f"/account/tokens/{made['id']}/revoke").status_code == 404
        assert self.program(site, made["token"]).get("/api/v1/me").status_code == 200

    def test_an_admin_sees_and_ends_them_all(self, site):
        anna, vera = signed_in(site), signed_in(site, "vera", Role.VIEWER)
        made = self.make(vera).json()
        (listed,) = anna.get("/api/v1/tokens").json()
        assert (listed["owner"], "token" in listed) == ("vera", False)
        assert post(anna, f"/users/tokens/{made['id']}/revoke").status_code == 200
        assert self.program(site, made["token"]).get("/api/v1/me").status_code == 401
