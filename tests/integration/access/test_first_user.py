"""Who gets into the console before it has a user."""

from __future__ import annotations

import pytest

from tests.integration.access.site import STRANGER, WORD, sign_in, token_on


class TestBeforeThereIsAUser:
    def test_whoever_sits_at_the_machine_is_admin_and_is_told_so(self, site):
        page = site.browser().get("/users")
        assert page.status_code == 200
        assert "Whoever sits at this machine is admin here" in page.text
        assert site.browser().get("/api/v1/me").json() == {
            "name": "localhost",
            "role": "admin",
            "means": "localhost",
        }

    @pytest.mark.parametrize("base", ["http://localhost:8080", "http://[::1]:8080"])
    def test_under_every_name_of_the_machine(self, site, base):
        address = "::1" if "::" in base else "127.0.0.1"
        assert site.browser(address, base).get("/api/v1/me").status_code == 200

    @pytest.mark.parametrize("address", [STRANGER, "10.0.0.1", "::ffff:10.0.0.1", ""])
    def test_from_another_machine_nobody_comes_in_but_is_told_what_to_do(self, site, address):
        browser = site.browser(address, "http://localhost")
        assert browser.get("/api/v1/me").status_code == 401
        assert browser.get("/users").headers["location"] == "/sign-in?next=/users"
        page = browser.get("/sign-in")
        assert "cadnode users add NAME --role admin" in page.text
        assert 'type="password"' not in page.text

    @pytest.mark.parametrize(
        "header",
        ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Proto"],
    )
    def test_a_proxy_on_this_machine_is_not_whoever_sits_at_it(self, site, header):
        browser = site.browser()
        answer = browser.get("/api/v1/me", headers={header: "127.0.0.1"})
        assert answer.status_code == 401

    def test_another_site_cannot_make_the_first_user(self, site):
        browser = site.browser()
        form = {"name": "eve", "role": "admin", "password": WORD, "again": WORD}
        browser.get("/users")
        for headers in (
            {},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://127.0.0.1:9999"},
        ):
            assert browser.post("/users", data=form, headers=headers).status_code == 403
            json = {"name": "eve", "role": "admin", "password": WORD}
            answer = browser.post("/api/v1/users", json=json, headers=headers)
            assert answer.status_code == 403
        assert not site.accounts.anybody()

    def test_the_first_user_is_an_admin_and_from_then_on_everybody_signs_in(self, site):
        browser = site.browser()
        token = token_on(browser.get("/users"))
        form = {"name": "Anna", "password": WORD, "again": WORD, "csrf_token": token}
        refused = browser.post("/users", data={**form, "role": "viewer"})
        assert (refused.status_code, "has to be an admin" in refused.text) == (422, True)
        assert browser.post("/users", data={**form, "role": "admin"}).status_code == 303
        assert browser.get("/users").headers["location"] == "/sign-in?next=/users"
        assert browser.get("/api/v1/me").status_code == 401
        assert sign_in(browser).status_code == 303
        assert browser.get("/api/v1/me").json()["name"] == "anna"
