"""Signing in at an identity provider: OpenID Connect, authorization code with PKCE (RFC 7636).

The ID token is what counts (OpenID Connect Core 3.1.3.7): signed with a key of the provider, by an
asymmetric algorithm, from this issuer, for this client, for this sign-in (nonce), not expired. What
it leaves out is asked of the UserInfo endpoint.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from typing import Any
from urllib.parse import urlsplit

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from cadnode.core.accounts import Role
from cadnode.core.errors import ProviderFailed, SignInRefused

TIMEOUT_SECONDS = 10.0
AT_ONCE = 8
"""Sign-ins that wait for the provider at one moment: strangers shall not take every thread of the
console when it is slow."""

LEEWAY_SECONDS = 60
"""The clocks of provider and node may differ by so much."""

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""Of signatures: never `none`, never one that the client secret could make."""

DISCOVERY = "/.well-known/openid-configuration"
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


@dataclass(frozen=True, slots=True)
class OidcRules:
    """What the site has agreed with its identity provider."""

    issuer: str
    client_id: str
    client_secret: str
    scopes: str
    name_claim: str
    role_claim: str
    """Dots go into objects: `realm_access.roles`."""
    roles: Mapping[str, Role]
    """What a value of the role claim stands for here; the highest counts."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Whom the provider vouches for."""

    issuer: str
    subject: str
    name: str
    role: Role


class IdentityProvider:
    """The provider; asked about itself when somebody first signs in. Safe to share."""

    def __init__(self, rules: OidcRules) -> None:
        self._rules = rules
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._about: Mapping[str, Any] | None = None
        self._keys: KeySet | None = None

    @property
    def host(self) -> str:
        """By which its users know it."""
        return urlsplit(self._rules.issuer).hostname or self._rules.issuer

    def depart(self, redirect_uri: str) -> tuple[str, str]:
        """Where to send the browser, and what it has to bring back as proof.

        Raises ProviderFailed.
        """
        state, nonce = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        verifier = secrets.token_urlsafe(48)
        with self._turn(), self._oauth(redirect_uri) as client:
            url, _ = client.create_authorization_url(
                self._endpoint("authorization_endpoint"),
                state=state,
                nonce=nonce,
                code_verifier=verifier,
            )
        return str(url), f"{state}.{nonce}.{verifier}"

    def arrive(
        self, answer: Mapping[str, str], *, proof: str, redirect_uri: str, now: datetime
    ) -> Claims:
        """Whom the provider's answer is about.

        Raises SignInRefused when it does not let them in, the answer belongs to another sign-in,
        or nothing they are stands for a role here; ProviderFailed.
        """
        state, _, rest = proof.partition(".")
        nonce, _, verifier = rest.partition(".")
        if not verifier or not compare_digest(answer.get("state", "").encode(), state.encode()):
            raise SignInRefused("this answer belongs to another sign-in; begin again")
        if answer.get("iss", self._rules.issuer) != self._rules.issuer:
            raise SignInRefused("this answer is another provider's")
        if "error" in answer or "code" not in answer:
            raise SignInRefused("the identity provider did not let you in")
        with self._turn(), self._oauth(redirect_uri) as client:
            tokens = client.fetch_token(
                self._endpoint("token_endpoint"), code=answer["code"], code_verifier=verifier
            )
            claims = self._verified(str(tokens.get("id_token", "")), nonce, now)
            if _at(claims, self._rules.role_claim) is None or self._rules.name_claim not in claims:
                token = str(tokens.get("access_token", ""))
                claims = {**self._user_info(token, str(claims["sub"])), **claims}
        return self._admitted(claims)

    def _admitted(self, claims: Mapping[str, Any]) -> Claims:
        name = claims.get(self._rules.name_claim)
        if not isinstance(name, str) or not name:
            raise SignInRefused(f"the identity provider gives no {self._rules.name_claim}")
        said = _at(claims, self._rules.role_claim)
        values = said if isinstance(said, list) else [said]
        roles = [
            self._rules.roles[v] for v in values if isinstance(v, str) and v in self._rules.roles
        ]
        if not roles:
            raise SignInRefused("you have no role here; ask whoever keeps this node")
        return Claims(self._rules.issuer, str(claims["sub"]), name, max(roles))

    def _verified(self, id_token: str, nonce: str, now: datetime) -> Mapping[str, Any]:
        try:
            claims = self._decoded(id_token)
            jwt.JWTClaimsRegistry(
                now=int(now.timestamp()),
                leeway=LEEWAY_SECONDS,
                iss={"essential": True, "value": self._rules.issuer},
                sub={"essential": True},
                aud={"essential": True, "value": self._rules.client_id},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(claims)
        except (JoseError, ValueError) as error:
            raise ProviderFailed(f"its ID token does not hold: {_in_words(error)}") from error
        if claims.get("azp", self._rules.client_id) != self._rules.client_id:
            raise ProviderFailed("its ID token was made for another client")
        return claims

    def _decoded(self, id_token: str) -> dict[str, Any]:
        for again in (False, True):
            try:
                keys = self._key_set(again=again)
                return dict(jwt.decode(id_token, keys, algorithms=ALGORITHMS).claims)
            except (JoseError, ValueError):
                # The provider may have new keys since we asked.
                if again:
                    raise
        raise ProviderFailed("its keys cannot be had")

    def _user_info(self, access_token: str, subject: str) -> Mapping[str, Any]:
        endpoint = self._discovered().get("userinfo_endpoint")
        if not endpoint:
            return {}
        answer = self._json(str(endpoint), {"Authorization": f"Bearer {access_token}"})
        # OpenID Connect Core 5.3.2: another subject's claims must not be used.
        if answer.get("sub") != subject:
            raise ProviderFailed("its UserInfo is about somebody else")
        return answer

    def _endpoint(self, name: str) -> str:
        return str(self._discovered()[name])

    def _discovered(self) -> Mapping[str, Any]:
        with self._lock:
            if self._about is None:
                about = self._json(self._rules.issuer.rstrip("/") + DISCOVERY)
                # OpenID Connect Discovery 4.3: exactly the issuer that was asked.
                if about.get("issuer") != self._rules.issuer:
                    raise ProviderFailed("it names itself otherwise than web.oidc_issuer")
                for name in _ENDPOINTS:
                    if not isinstance(about.get(name), str):
                        raise ProviderFailed(f"it names no {name}")
                self._about = about
            return self._about

    def _key_set(self, *, again: bool) -> KeySet:
        url = self._endpoint("jwks_uri")
        with self._lock:
            if self._keys is None or again:
                self._keys = KeySet.import_key_set(self._json(url))  # type: ignore[arg-type]
            return self._keys

    def _json(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        with _translated(), httpx.Client(timeout=TIMEOUT_SECONDS) as client:
            answer = client.get(url, headers=headers).raise_for_status().json()
        if not isinstance(answer, dict):
            raise ProviderFailed("it answers with something else than an object")
        return answer

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(blocking=False):
            raise ProviderFailed("too many wait for it at this moment; try again")
        try:
            yield
        finally:
            self._turns.release()

    @contextmanager
    def _oauth(self, redirect_uri: str) -> Iterator[OAuth2Client]:
        methods = self._discovered().get("token_endpoint_auth_methods_supported")
        basic = not methods or "client_secret_basic" in methods
        how = "client_secret_basic" if basic else "client_secret_post"
        with (
            _translated(),
            OAuth2Client(
                client_id=self._rules.client_id,
                client_secret=self._rules.client_secret or None,
                token_endpoint_auth_method=how if self._rules.client_secret else "none",
                scope=self._rules.scopes,
                redirect_uri=redirect_uri,
                code_challenge_method="S256",
                timeout=TIMEOUT_SECONDS,
            ) as client,
        ):
            yield client


@contextmanager
def _translated() -> Iterator[None]:
    """What goes wrong on the way to the provider, as our error; its answers are not repeated."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise ProviderFailed(f"it answered {error.response.status_code}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ProviderFailed(f"it cannot be reached ({type(error).__name__})") from error
    except AuthlibBaseError as error:
        raise ProviderFailed(f"it refused: {error.error or 'no reason given'}") from error
    except ValueError as error:
        raise ProviderFailed("its answer is not JSON") from error


def _at(claims: Mapping[str, Any], path: str) -> Any:
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _in_words(error: Exception) -> str:
    return str(getattr(error, "error", "")) or type(error).__name__
