"""Signing in with a password, guessing one, and how long a sign-in lasts."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from argon2 import PasswordHasher

from cadnode.core.accounts import Role
from cadnode.storage.passwords import Passwords
from tests.integration.access.site import (
    START,
    STRANGER,
    WORD,
    cookies_of,
    post,
    sign_in,
    signed_in,
    token_on,
)


class TestSigningIn:
    def test_name_and_password_get_somebody_to_where_they_were_going(self, site):
        site.add("anna")
        browser = site.browser(STRANGER)
        answer = sign_in(browser, " Anna ", next="/users")
        assert (answer.status_code, answer.headers["location"]) == (303, "/users")
        page = browser.get("/users")
        assert page.status_code == 200
        assert "Whoever sits" not in page.text

    @pytest.mark.parametrize(
        "target", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a\nb"]
    )
    def test_but_never_to_another_site(self, site, target):
        site.add("anna")
        browser = site.browser()
        assert browser.get("/sign-in", params={"next": target}).status_code == 200
        assert sign_in(browser, next=target).headers["location"] == "/"
        assert browser.get("/sign-in", params={"next": target}).headers["location"] == "/"

    def test_a_wrong_password_and_a_wrong_name_get_the_same_words(self, site):
        site.add("anna")
        browser = site.browser()
        wrong = sign_in(browser, "anna", "not this one")
        nobody = sign_in(browser, "nobody", "not this one")
        assert (wrong.status_code, nobody.status_code) == (401, 401)
        assert unescape(wrong.text).replace("anna", "nobody").replace(
            token_on(wrong), ""
        ) == unescape(nobody.text).replace(token_on(nobody), "")

    def test_and_the_same_work_is_done(self, site, monkeypatch):
        site.add("anna")
        looked_at: list[bool] = []
        real = Passwords.matches

        def matches(self: Passwords, kept: str | None, password: str) -> bool:
            looked_at.append(kept is None)
            return real(self, kept, password)

        monkeypatch.setattr(Passwords, "matches", matches)
        sign_in(site.browser(), "anna", "not this one")
        sign_in(site.browser(), "nobody", "not this one")
        assert looked_at == [False, True]

    def test_the_cookie_is_out_of_the_reach_of_scripts_and_other_sites(self, site):
        site.add("anna")
        (cookie,) = cookies_of(sign_in(site.browser()))
        parts = cookie.split("; ")
        assert parts[0].startswith("cadnode_session=")
        assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"} <= set(parts)
        assert "Domain" not in cookie

    def test_signing_in_gives_a_new_session_whatever_the_browser_brought(self, site):
        site.add("anna")
        browser = site.browser()
        browser.cookies.set("cadnode_session", "planted", domain="127.0.0.1", path="/")
        # The page takes the planted cookie away.
        browser.get("/sign-in")
        sign_in(browser)
        first = browser.cookies["cadnode_session"]
        assert first != "planted"
        again = site.browser()
        sign_in(again)
        assert again.cookies["cadnode_session"] != first
        planted = site.browser()
        planted.cookies.set("cadnode_session", "planted", domain="127.0.0.1", path="/")
        assert planted.get("/api/v1/me").status_code == 401

    def test_signing_in_again_ends_the_session_before(self, site):
        browser = signed_in(site)
        before = browser.cookies["cadnode_session"]
        token = token_on(browser.get("/account"))
        form = {"name": "anna", "password": WORD, "csrf_token": token}
        assert browser.post("/sign-in", data=form).status_code == 303
        assert browser.get("/api/v1/me").status_code == 200
        replay = site.browser()
        replay.cookies.set("cadnode_session", before, domain="127.0.0.1", path="/")
        assert replay.get("/api/v1/me").status_code == 401

    def test_another_site_cannot_sign_somebody_in(self, site):
        site.add("anna")
        form = {"name": "anna", "password": WORD}
        assert site.browser().post("/sign-in", data=form).status_code == 403
        browser = site.browser()
        token = token_on(browser.get("/sign-in"))
        stranger = site.browser()
        stranger.get("/sign-in")
        # A token that the attacker was given does not fit the victim's cookie.
        answer = stranger.post("/sign-in", data={**form, "csrf_token": token})
        assert (answer.status_code, "E902" in answer.text) == (403, True)

    def test_the_secret_itself_is_nowhere_in_the_database(self, site):
        browser = signed_in(site)
        with site.store.database.read() as connection:
            driver: Any = connection.connection.driver_connection
            dump = "\n".join(driver.iterdump())
        assert browser.cookies["cadnode_session"] not in dump
        assert WORD not in dump

    def test_an_old_hash_is_made_anew(self, site):
        site.add("anna")
        old = Passwords(PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)).hash(WORD)
        site.accounts.set_password("anna", old, by="test", now=START)
        sign_in(site.browser())
        kept = site.accounts.password_hash("anna")
        assert kept is not None
        assert "t=1," in kept
        assert sign_in(site.browser()).status_code == 303

    def test_a_link_from_elsewhere_finds_somebody_signed_in(self, site):
        # Chromium sends a strict cookie only with what begins at a page of ours.
        browser = site.browser()
        site.add("anna")
        followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        page = browser.get("/users?x=1", headers=followed)
        assert page.status_code == 200
        assert '<meta http-equiv="refresh" content="0; url=/users?x=1">' in page.text
        sign_in(browser)
        assert browser.get("/users?x=1", headers=followed).status_code == 200

    def test_a_part_of_a_page_sends_the_whole_page_to_the_sign_in(self, site):
        site.add("anna")
        answer = site.browser().get(
            "/users",
            headers={"HX-Request": "true", "HX-Current-URL": "http://127.0.0.1/exams?page=2"},
        )
        assert answer.status_code == 401
        assert answer.headers["hx-redirect"] == "/sign-in?next=/exams%3Fpage%3D2"


class TestGuessing:
    def test_after_a_few_wrong_ones_even_the_right_password_waits(self, site):
        site.add("anna")
        for _ in range(3):
            assert sign_in(site.browser(), word="not this one").status_code == 401
        answer = sign_in(site.browser())
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "15")
        assert "try again in 15 s" in answer.text
        site.pass_time(seconds=14.9)
        assert sign_in(site.browser()).status_code == 429
        site.pass_time(seconds=0.1)
        assert sign_in(site.browser()).status_code == 303

    def test_a_name_that_nobody_has_waits_just_the_same(self, site):
        site.add("anna")
        for _ in range(3):
            sign_in(site.browser(), "nobody", "not this one")
        assert sign_in(site.browser(), "nobody", "not this one").status_code == 429

    def test_one_address_cannot_try_name_after_name(self, site):
        site.add("anna")
        for number in range(6):
            sign_in(site.browser(STRANGER), f"user{number}", "not this one")
        assert sign_in(site.browser(STRANGER)).status_code == 429
        assert sign_in(site.browser("203.0.113.10")).status_code == 303

    def test_an_address_that_is_made_up_in_a_header_does_not_help(self, site):
        site.add("anna")
        codes = []
        for number in range(8):
            browser = site.browser(STRANGER)
            browser.headers["X-Forwarded-For"] = f"198.51.100.{number}"
            codes.append(sign_in(browser, f"user{number}", "not this one").status_code)
        assert codes == [401] * 6 + [429] * 2

    def test_changing_the_password_is_no_way_around(self, site):
        browser = signed_in(site)
        form = {
            "old": "not this one",
            "password": "a longer password",
            "again": "a longer password",
        }
        codes = [post(browser, "/account/password", **form).status_code for _ in range(4)]
        assert codes == [422, 422, 422, 429]


class TestSessions:
    def test_a_session_that_was_signed_out_is_good_for_nothing(self, site):
        browser = signed_in(site)
        secret = browser.cookies["cadnode_session"]
        answer = post(browser, "/sign-out")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
        assert "cadnode_session" not in browser.cookies
        replay = site.browser()
        replay.cookies.set("cadnode_session", secret, domain="127.0.0.1", path="/")
        assert replay.get("/api/v1/me").status_code == 401

    def test_it_ends_without_use_and_after_the_longest_time(self, site):
        browser = signed_in(site)
        site.pass_time(minutes=59)
        assert browser.get("/api/v1/me").status_code == 200
        site.pass_time(minutes=60)
        assert browser.get("/api/v1/me").status_code == 401
        browser = signed_in(site)
        for _ in range(23):
            site.pass_time(minutes=30)
            assert browser.get("/api/v1/me").status_code == 200
        site.pass_time(minutes=30)
        assert browser.get("/api/v1/me").status_code == 401

    def test_a_page_that_refreshes_itself_does_not_keep_it(self, site):
        browser = signed_in(site)
        for _ in range(11):
            site.pass_time(minutes=5)
            headers = {"X-Passive": "1"}
            assert browser.get("/api/v1/me", headers=headers).status_code == 200
        site.pass_time(minutes=5)
        assert browser.get("/api/v1/me").status_code == 401

    def test_after_it_has_ended_the_sign_in_works_at_the_first_try(self, site):
        browser = signed_in(site)
        site.pass_time(hours=13)
        assert browser.get("/account").headers["location"] == "/sign-in?next=/account"
        assert sign_in(browser).status_code == 303

    def test_a_new_password_signs_the_other_browsers_out(self, site):
        mine, other = signed_in(site), signed_in(site)
        new = "another long one"
        done = post(mine, "/account/password", old=WORD, password=new, again=new)
        assert "Your password is changed" in done.text
        assert mine.get("/api/v1/me").status_code == 200
        assert other.get("/api/v1/me").status_code == 401
        assert sign_in(site.browser()).status_code == 401
        assert sign_in(site.browser(), word=new).status_code == 303

    @pytest.mark.parametrize(
        ("form", "says"),
        [
            ({"old": "not this one", "password": "x", "again": "x"}, "at least 12"),
            ({"old": WORD, "password": "annaannaanna", "again": "annaannaanna"}, "more than"),
            ({"old": WORD, "password": "a long one 1", "again": "a long one 2"}, "differ"),
            ({"old": "no", "password": "a long one 1", "again": "a long one 1"}, "no such user"),
        ],
    )
    def test_a_password_that_cannot_be_is_refused_with_the_reason(self, site, form, says):
        browser = signed_in(site)
        answer = post(browser, "/account/password", **form)
        assert (answer.status_code, says in answer.text) == (422, True)
        assert sign_in(site.browser()).status_code == 303

    def test_one_can_sign_out_a_browser_left_open_elsewhere(self, site):
        mine = signed_in(site)
        other = signed_in(site, address=STRANGER)
        there = next(
            session
            for session in mine.get("/api/v1/me/sessions").json()
            if session["address"] == STRANGER
        )
        assert "this one" in mine.get("/account").text
        assert not there["current"]
        assert "signed out" in post(mine, f"/account/sessions/{there['id']}/end").text
        assert other.get("/api/v1/me").status_code == 401
        assert mine.get("/api/v1/me").status_code == 200

    def test_a_removed_user_is_out_and_a_changed_role_counts_at_once(self, site):
        anna = signed_in(site)
        bert = signed_in(site, "bert", Role.VIEWER)
        assert bert.get("/users").status_code == 403
        assert post(anna, "/users/bert/role", role="admin").status_code == 200
        assert bert.get("/users").status_code == 200
        assert post(anna, "/users/bert/remove").status_code == 200
        assert bert.get("/api/v1/me").status_code == 401
