"""My account, and the users."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Request, Response
from fastapi.responses import RedirectResponse

from cadnode.core.accounts import LONGEST_TOKEN_DAYS, SHORTEST_PASSWORD, Means, Role, User
from cadnode.core.errors import AccessError, AccountRefused, TooManyAttempts
from cadnode.web.access.cookies import SESSION, caller_of, cookie, forget
from cadnode.web.access.ports import Access
from cadnode.web.access.who import access_of, admin, person, viewer
from cadnode.web.accounts import sign_in
from cadnode.web.accounts.sign_in import Text, visitor_of
from cadnode.web.accounts.way_in import SIGN_IN
from cadnode.web.console import Console
from cadnode.web.pages import render

Name = Annotated[str, Path(max_length=64)]
Number = Annotated[int, Path(ge=1, lt=2**31)]
# In this order: most call themselves by the names of others too.
_BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Windows", "Windows"),
    ("iPhone", "an iPhone"),
    ("iPad", "an iPad"),
    ("Android", "Android"),
    ("Mac OS X", "a Mac"),
    ("Linux", "Linux"),
)

TOKEN_DAYS = 365
"""For which a token is good unless somebody says otherwise."""


def pages(console: Console) -> APIRouter:
    """The pages of this feature."""
    router = APIRouter()
    sign_in.add_to(router)
    router.get("/account")(account_page)
    router.post("/account/password")(change_password)
    router.post("/account/tokens")(add_token)
    router.post("/account/tokens/{token_id}/revoke")(revoke_token)
    router.post("/account/sessions/{session_id}/end")(end_session)
    router.get("/users")(users_page)
    router.post("/users")(add_user)
    router.post("/users/tokens/{token_id}/revoke")(revoke_any_token)
    router.get("/users/{name}")(user_page)
    router.post("/users/{name}/role")(set_role)
    router.post("/users/{name}/password")(set_password)
    router.post("/users/{name}/remove")(remove_user)
    return router


def role_named(text: str) -> Role:
    """The role with this name, in whichever letters. Raises AccountRefused."""
    try:
        return Role[text.upper()]
    except KeyError as error:
        known = ", ".join(role.name.lower() for role in Role)
        raise AccountRefused(f"there is no such role ({known})") from error


def browser_name(called: str) -> str:
    """What a person calls the browser that calls itself so: "Firefox on Windows"."""
    browser = next((name for mark, name in _BROWSERS if mark in called), "")
    system = next((name for mark, name in _SYSTEMS if mark in called), "")
    return f"{browser or 'A browser'} on {system}" if system else browser or "unknown"


def same_twice(password: str, again: str) -> str:
    """The password that was typed twice. Raises AccountRefused."""
    if password != again:
        raise AccountRefused("the two new passwords differ")
    return password


# ---- my account ------------------------------------------------------------------------------


def account_page(request: Request, user: Annotated[User, Depends(viewer)]) -> Response:
    """My password, my tokens, where I am signed in."""
    return _account(request, user)


def change_password(
    request: Request,
    user: Annotated[User, Depends(person)],
    old: Text,
    password: Text,
    again: Text,
) -> Response:
    """A new password of my own."""
    access = access_of(request)
    try:
        access.change_password(
            user.name,
            old,
            same_twice(password, again),
            keep_session=cookie(request, SESSION),
            visitor=visitor_of(request),
        )
    except AccessError as error:
        return _account(request, user, problem=error)
    return _account(request, user, done="Your password is changed; other browsers are signed out.")


def add_token(
    request: Request,
    user: Annotated[User, Depends(person)],
    name: Text,
    role: Text,
    days: Annotated[int, Form()] = TOKEN_DAYS,
) -> Response:
    """A token of my own; this page is the only one that ever shows it."""
    access = access_of(request)
    try:
        _, secret = access.add_token(
            name.strip(), role_named(role), days, owner=user.name, by=user.name
        )
    except AccountRefused as error:
        return _account(request, user, problem=error)
    return _account(request, user, secret=secret)


def revoke_token(
    request: Request, user: Annotated[User, Depends(person)], token_id: Number
) -> Response:
    """A token of mine is good no more."""
    access_of(request).revoke_token(token_id, by=user.name, owner=user.name)
    return _account(request, user, done=f"Token {token_id} is revoked.")


def end_session(
    request: Request, user: Annotated[User, Depends(person)], session_id: Number
) -> Response:
    """Out, in another browser."""
    access_of(request).end_session(user.name, session_id)
    return _account(request, user, done="That browser is signed out.")


def _account(request: Request, user: User, **said: Any) -> Response:
    access = access_of(request)
    known = user.means is Means.SESSION
    return _said(
        request,
        "accounts/account.html",
        said,
        me=access.account(user.name) if known else None,
        tokens=access.tokens(user.name) if known else [],
        sessions=access.sessions(user.name, secret=cookie(request, SESSION)) if known else [],
        browser_name=browser_name,
        roles=[role for role in Role if role <= user.role],
        now=request.app.state.console.clock(),
        token_days=TOKEN_DAYS,
        longest_token_days=LONGEST_TOKEN_DAYS,
    )


# ---- the users -------------------------------------------------------------------------------


def users_page(request: Request, user: Annotated[User, Depends(admin)]) -> Response:
    """Who there is."""
    return _users(request)


def add_user(
    request: Request,
    user: Annotated[User, Depends(admin)],
    name: Text,
    role: Text,
    password: Text,
    again: Text,
) -> Response:
    """A new user."""
    access = access_of(request)
    try:
        added = access.add_user(name, role_named(role), same_twice(password, again), by=user.name)
    except AccountRefused as error:
        return _users(request, problem=error, name=name)
    if user.means is Means.LOCALHOST:
        # Whoever made the first user signs in as that user next.
        return RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER)
    return _users(request, done=f"{added.name} can sign in now.")


def user_page(request: Request, user: Annotated[User, Depends(admin)], name: Name) -> Response:
    """One user, and what can be changed."""
    return _user(request, access_of(request), name)


def set_role(
    request: Request, user: Annotated[User, Depends(admin)], name: Name, role: Text
) -> Response:
    """Another role."""
    access = access_of(request)
    try:
        access.set_role(name, role_named(role), by=user.name)
    except AccountRefused as error:
        return _user(request, access, name, problem=error)
    if name == user.name:
        return RedirectResponse("/account", HTTPStatus.SEE_OTHER)
    return _user(request, access, name, done=f"{name} is {role.lower()} now.")


def set_password(
    request: Request,
    user: Annotated[User, Depends(admin)],
    name: Name,
    password: Text,
    again: Text,
) -> Response:
    """A new password for somebody who has forgotten theirs."""
    access = access_of(request)
    try:
        access.set_password(name, same_twice(password, again), by=user.name)
    except AccountRefused as error:
        return _user(request, access, name, problem=error)
    if name == user.name:
        return _gone(request)
    return _user(request, access, name, done=f"{name} has a new password and is signed out.")


def remove_user(request: Request, user: Annotated[User, Depends(admin)], name: Name) -> Response:
    """Without this user."""
    access = access_of(request)
    try:
        access.remove_user(name, by=user.name)
    except AccountRefused as error:
        return _user(request, access, name, problem=error)
    if name == user.name and user.means is Means.SESSION:
        return _gone(request)
    return _users(request, done=f"{name} is removed.")


def revoke_any_token(
    request: Request, user: Annotated[User, Depends(admin)], token_id: Number
) -> Response:
    """Anybody's token is good no more."""
    access_of(request).revoke_token(token_id, by=user.name)
    return _users(request, done=f"Token {token_id} is revoked.")


def _users(request: Request, name: str = "", **said: Any) -> Response:
    access = access_of(request)
    accounts = access.accounts()
    return _said(
        request,
        "accounts/users.html",
        said,
        accounts=accounts,
        tokens=access.tokens(),
        changes=access.changes(),
        roles=list(Role) if accounts else [Role.ADMIN],
        name=name,
        shortest=SHORTEST_PASSWORD,
        now=request.app.state.console.clock(),
    )


def _user(request: Request, access: Access, name: str, **said: Any) -> Response:
    return _said(
        request,
        "accounts/user.html",
        said,
        account=access.account(name),
        roles=list(Role),
        shortest=SHORTEST_PASSWORD,
    )


def _gone(request: Request) -> Response:
    answer = RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER)
    forget(answer, SESSION, caller_of(request))
    return answer


def _said(request: Request, template: str, said: dict[str, Any], **values: Any) -> Response:
    """The page with what has just been done, or why it could not be."""
    problem = said.get("problem")
    status = HTTPStatus.OK
    if problem is not None:
        too_many = isinstance(problem, TooManyAttempts)
        status = HTTPStatus.TOO_MANY_REQUESTS if too_many else HTTPStatus.UNPROCESSABLE_ENTITY
    said = {"problem": None, "done": "", "secret": "", **said}
    page = render(request, template, status=status, **said, **values)
    if isinstance(problem, TooManyAttempts):
        page.headers["Retry-After"] = str(problem.wait_seconds)
    return page
