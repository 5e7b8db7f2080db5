"""Signing in at an identity provider: a real one, and one that lies."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from joserfc.jwk import OctKey

from cadnode.config.tables import WebTable
from cadnode.console.access import provider_of
from cadnode.core.accounts import Origin, Role
from cadnode.core.audit import UserLogin
from cadnode.core.errors import ConfigError
from cadnode.web.access.ports import Visitor
from tests.integration.access.site import START, WORD, Site, site_with
from tests.integration.identity_provider import (
    CLIENT,
    SECRET,
    LyingProvider,
    lying_provider,
    rsa_key,
)
from tests.peers import free_port, require, wait_for_port

ROLES = '{ "radiology" = "viewer", "cad-operators" = "operator", "cad-admins" = "admin" }'


def settings(issuer: str, more: str = "") -> str:
    return (
        f'oidc_issuer = "{issuer}"\noidc_client_id = "{CLIENT}"\n'
        f'oidc_client_secret = "{SECRET}"\noidc_roles = {ROLES}\n{more}'
    )


@pytest.fixture
def provider() -> Iterator[LyingProvider]:
    with lying_provider(int(START.timestamp())) as provider:
        yield provider


@pytest.fixture
def site(tmp_path: Path, provider: LyingProvider) -> Iterator[Site]:
    with site_with(tmp_path, settings(provider.issuer)) as site:
        yield site


def depart(browser: TestClient, target: str = "/account") -> str:
    answer = browser.get("/sign-in/provider", params={"next": target})
    assert answer.status_code == 303
    return str(answer.headers["location"])


def go(browser: TestClient, provider: LyingProvider, **changed: str) -> Any:
    back = provider.authorize(depart(browser))
    return browser.get("/sign-in/provider/arrival", params={**back, **changed})


def me(browser: TestClient) -> Any:
    answer = browser.get("/api/v1/me")
    return answer.json() if answer.status_code == 200 else None


def test_whoever_the_provider_vouches_for_is_in_with_the_role_of_their_group(site, provider):
    browser = site.browser()
    page = go(browser, provider)
    assert '<meta http-equiv="refresh" content="0; url=/account">' in page.text
    assert me(browser) == {"name": "olaf", "role": "viewer", "means": "session"}
    account = site.accounts.account("olaf")
    assert (account.origin, account.role) == (Origin.OIDC, Role.VIEWER)
    assert site.audit.events == [UserLogin("olaf", "127.0.0.1")]
    assert "at the identity provider" in browser.get("/account").text


def test_the_page_offers_the_provider_and_a_password(site):
    text = site.browser().get("/sign-in?next=/exams").text
    assert "Sign in with 127.0.0.1" in text
    assert 'href="/sign-in/provider?next=/exams"' in text


def test_with_a_provider_nobody_comes_in_just_by_sitting_at_the_machine(site):
    assert me(site.browser()) is None


def test_the_proof_travels_in_a_cookie_that_scripts_cannot_see(site, provider):
    answer = site.browser().get("/sign-in/provider")
    (cookie,) = answer.headers.get_list("set-cookie")
    parts = cookie.split("; ")
    assert {"HttpOnly", "SameSite=lax", "Path=/", "Max-Age=600"} <= set(parts)
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    state, nonce, verifier = parts[0].partition("=")[2].strip('"').partition("|")[0].split(".")
    assert (query["state"], query["nonce"]) == ([state], [nonce])
    assert verifier not in answer.headers["location"]
    assert len(verifier) >= 43  # RFC 7636, 4.1


def test_a_role_that_changes_there_changes_here_at_the_next_sign_in(site, provider):
    go(site.browser(), provider)
    provider.claims = {"roles": "cad-admins", "preferred_username": "olaf.b"}
    browser = site.browser()
    go(browser, provider)
    assert me(browser) == {"name": "olaf.b", "role": "admin", "means": "session"}
    assert [account.name for account in site.accounts.accounts()] == ["olaf.b"]


def test_of_several_roles_the_highest_counts(site, provider):
    provider.claims = {"roles": ["radiology", "cad-admins", "cad-operators"]}
    browser = site.browser()
    go(browser, provider)
    assert me(browser)["role"] == "admin"


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"roles": ["everybody"]}, "you have no role here"),
        ({"roles": []}, "you have no role here"),
        ({"roles": {"radiology": True}}, "you have no role here"),
        ({"roles": None}, "you have no role here"),
        ({"preferred_username": None}, "gives no preferred_username"),
        ({"preferred_username": 7}, "gives no preferred_username"),
        ({"preferred_username": "Olaf Ö"}, "a name is"),
        ({"preferred_username": "localhost"}, "is taken"),
    ],
)
def test_whoever_is_nobody_here_is_not_let_in(site, provider, claims, says):
    provider.claims = claims
    provider.user_info = {"sub": "7"}
    browser = site.browser()
    answer = go(browser, provider)
    assert (answer.status_code, says in answer.text) == (401, True)
    assert me(browser) is None
    assert site.accounts.accounts() == []


def test_what_the_id_token_leaves_out_is_asked_of_the_userinfo(site, provider):
    provider.claims = {"roles": None, "preferred_username": None}
    provider.user_info = {"sub": "7", "preferred_username": "olaf", "roles": ["cad-operators"]}
    browser = site.browser()
    go(browser, provider)
    assert me(browser)["role"] == "operator"


def test_but_not_when_that_is_about_somebody_else(site, provider):
    provider.claims = {"roles": None}
    provider.user_info = {"sub": "8", "roles": ["cad-admins"]}
    browser = site.browser()
    assert "about somebody else" in go(browser, provider).text
    assert me(browser) is None


def test_a_role_may_stand_inside_another_claim(tmp_path, provider):
    more = 'oidc_role_claim = "realm_access.roles"\n'
    provider.claims = {"roles": None, "realm_access": {"roles": ["radiology"]}}
    with site_with(tmp_path, settings(provider.issuer, more)) as site:
        browser = site.browser()
        go(browser, provider)
        assert me(browser)["role"] == "viewer"


def test_nobody_gets_the_name_of_a_user_with_a_password(site, provider):
    site.add("olaf")
    browser = site.browser()
    provider.claims = {"roles": ["cad-admins"]}
    assert "another user" in go(browser, provider).text
    assert me(browser) is None


LIES: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "another client": {"aud": "another"},
    "made for another client": {"aud": [CLIENT, "another"], "azp": "another"},
    "another sign-in": {"nonce": "replayed"},
    "no nonce": {"nonce": None},
    "nobody": {"sub": None},
    "expired": {"exp": int(START.timestamp()) - 61},
    "no end": {"exp": None},
    "from the future": {"iat": int(START.timestamp()) + 3600},
}


@pytest.mark.parametrize("lie", LIES)
def test_an_id_token_that_is_not_for_this_sign_in_lets_nobody_in(site, provider, lie):
    provider.claims = LIES[lie]
    browser = site.browser()
    answer = go(browser, provider)
    assert (answer.status_code, "E906" in answer.text) == (401, True)
    assert me(browser) is None


@pytest.mark.parametrize("algorithm", ["none", "HS256", "a key of somebody else"])
def test_nor_one_that_the_provider_has_not_signed(site, provider, algorithm):
    if algorithm == "none":
        provider.signs_with = None
    elif algorithm == "HS256":
        # With the client secret, which the client could have done itself.
        provider.signs_with, provider.algorithm = OctKey.import_key(SECRET * 3), "HS256"
    else:
        provider.signs_with = rsa_key("somebody else's")
    browser = site.browser()
    answer = go(browser, provider)
    assert (answer.status_code, "E906" in answer.text) == (401, True)
    assert me(browser) is None


def test_new_keys_of_the_provider_are_fetched_when_they_are_needed(site, provider):
    go(site.browser(), provider)
    provider.key = rsa_key("2")
    provider.signs_with = provider.key
    browser = site.browser()
    go(browser, provider)
    assert me(browser)["name"] == "olaf"
    assert provider.asked.count("/keys") == 2


def test_an_answer_to_another_browser_is_worth_nothing(site, provider):
    victim, attacker = site.browser(), site.browser()
    stolen = provider.authorize(depart(attacker))
    for browser in (victim, site.browser()):
        if browser is victim:
            depart(victim)
        answer = browser.get("/sign-in/provider/arrival", params=stolen)
        assert (answer.status_code, "belongs to another sign-in" in answer.text) == (401, True)
        assert me(browser) is None


def test_an_answer_counts_once(site, provider):
    browser = site.browser()
    back = provider.authorize(depart(browser))
    proof = browser.cookies["cadnode_departure"]
    browser.get("/sign-in/provider/arrival", params=back)
    assert me(browser) is not None
    assert "cadnode_departure" not in browser.cookies
    other = site.browser()
    other.cookies.set("cadnode_departure", proof, domain="127.0.0.1", path="/")
    # The provider gives a code away once.
    assert "E906" in other.get("/sign-in/provider/arrival", params=back).text
    assert me(other) is None


def test_a_code_without_the_verifier_of_this_browser_is_refused_by_the_provider(site, provider):
    browser = site.browser()
    back = provider.authorize(depart(browser))
    provider.codes[back["code"]] = {**provider.codes[back["code"]], "code_challenge": "x"}
    answer = browser.get("/sign-in/provider/arrival", params=back)
    assert "it refused: invalid_grant" in answer.text


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"error": "access_denied"}, "did not let you in"),
        ({"iss": "https://evil.example"}, "another provider"),
        ({"state": ""}, "another sign-in"),
        ({"state": "ä"}, "another sign-in"),
    ],
)
def test_an_answer_that_is_a_refusal_or_not_for_us(site, provider, changed, says):
    answer = go(site.browser(), provider, **changed)
    assert (answer.status_code, says in answer.text) == (401, True)


class TestAProviderInTrouble:
    def arrive(self, site: Site) -> Any:
        return site.browser().get("/sign-in/provider")

    def test_one_that_is_not_there_is_said_to_be_so_and_a_password_still_gets_in(self, tmp_path):
        with site_with(tmp_path, settings(f"http://127.0.0.1:{free_port()}")) as site:
            site.add("anna")
            answer = self.arrive(site)
            assert (answer.status_code, "E906" in answer.text) == (503, True)
            assert "cannot be reached (ConnectError)" in answer.text
            assert site.access.sign_in("anna", WORD, Visitor("127.0.0.1", ""))

    @pytest.mark.parametrize(
        ("about", "says"),
        [
            ({"issuer": "https://evil.example"}, "names itself otherwise"),
            ({"authorization_endpoint": None}, "names no authorization_endpoint"),
        ],
    )
    def test_one_that_says_something_else_about_itself(self, site, provider, about, says):
        provider.about = about
        answer = self.arrive(site)
        assert (answer.status_code, says in answer.text) == (503, True)
        # It is asked again once it is mended.
        provider.about = {}
        assert self.arrive(site).status_code == 303

    def test_one_that_fails_at_the_end(self, site, provider):
        provider.claims, provider.user_info_status = {"roles": None}, 500
        answer = go(site.browser(), provider)
        assert "it answered 500" in answer.text


def test_without_a_provider_there_is_no_way_there(tmp_path):
    with site_with(tmp_path) as site:
        assert site.browser().get("/sign-in/provider").status_code == 404


def test_a_secret_in_a_file_that_cannot_be_read_is_said_at_the_start(tmp_path):
    web = WebTable.model_validate(
        {
            "oidc_issuer": "https://id.example",
            "oidc_client_id": "x",
            "oidc_roles": {"a": "viewer"},
            "oidc_client_secret_file": tmp_path / "missing",
        }
    )
    with pytest.raises(ConfigError, match="oidc_client_secret_file"):
        provider_of(web)


@pytest.mark.peers
def test_a_provider_that_we_did_not_write_lets_somebody_in(tmp_path):
    program = require("oidc-provider-mock", "pip:oidc-provider-mock")
    port, log = free_port(), tmp_path / "provider.log"
    person = {"sub": "4711", "preferred_username": "Olaf", "roles": ["cad-operators"]}
    command = [program, "--port", str(port), "--require-nonce", "true"]
    command += ["--user-claims", json.dumps(person)]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        wait_for_port(port, process, log)
        with site_with(tmp_path / "node", settings(f"http://127.0.0.1:{port}")) as site:
            site.now[0] = datetime.now(UTC)
            browser = site.browser()
            answer = httpx.post(depart(browser), data={"sub": "4711"})
            assert answer.status_code == 302
            back = urlsplit(answer.headers["location"])
            assert back.path == "/sign-in/provider/arrival"
            page = browser.get(f"{back.path}?{back.query}")
            assert page.status_code == 200, page.text
            assert me(browser) == {"name": "olaf", "role": "operator", "means": "session"}
    finally:
        process.terminate()
        process.wait()
