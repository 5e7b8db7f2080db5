"""The users, and one's own account, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field
from starlette.status import HTTP_201_CREATED, HTTP_204_NO_CONTENT

from cadnode.core.accounts import (
    LONGEST_PASSWORD,
    LONGEST_TOKEN_DAYS,
    Account,
    ApiToken,
    Role,
    Session,
    User,
)
from cadnode.web.access.cookies import SESSION, cookie
from cadnode.web.access.who import access_of, admin, person, viewer
from cadnode.web.accounts.pages import TOKEN_DAYS, Name, Number
from cadnode.web.accounts.sign_in import visitor_of
from cadnode.web.console import Console

RoleName = Literal["viewer", "operator", "admin"]
Password = Annotated[str, Field(max_length=LONGEST_PASSWORD)]


class Me(BaseModel):
    """Who is asking."""

    name: str
    role: RoleName
    means: Literal["session", "token", "localhost"]


class UserOut(BaseModel):
    """One user."""

    name: str
    role: RoleName
    origin: Literal["local", "oidc"]
    created_at: datetime
    created_by: str
    last_sign_in_at: datetime | None


class NewUser(BaseModel):
    """A user to be."""

    name: Annotated[str, Field(max_length=64)]
    role: RoleName
    password: Password


class NewRole(BaseModel):
    """Another role."""

    role: RoleName


class NewPassword(BaseModel):
    """A password for somebody else."""

    password: Password


class OwnPassword(BaseModel):
    """A password of one's own, and the one until now."""

    old: Password
    password: Password


class TokenOut(BaseModel):
    """One token, without itself."""

    id: int
    name: str
    owner: str | None
    role: RoleName
    created_at: datetime
    created_by: str
    expires_at: datetime
    last_used_at: datetime | None


class NewToken(BaseModel):
    """A token to be."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    role: RoleName = "viewer"
    days: Annotated[int, Field(ge=1, le=LONGEST_TOKEN_DAYS)] = TOKEN_DAYS


class TokenMade(TokenOut):
    """A token, and itself: this once."""

    token: str


class SessionOut(BaseModel):
    """One browser in which somebody is signed in."""

    id: int
    began_at: datetime
    last_used_at: datetime
    address: str
    browser: str
    current: bool
    """True for the one that asks."""


class ChangeOut(BaseModel):
    """What was done to a user or a token."""

    at: datetime
    text: str
    actor: str


def api(console: Console) -> APIRouter:
    """The routes of this feature."""
    router = APIRouter(tags=["access"])
    router.get("/me")(me)
    router.put("/me/password", status_code=HTTP_204_NO_CONTENT)(change_my_password)
    router.get("/me/tokens")(my_tokens)
    router.post("/me/tokens", status_code=HTTP_201_CREATED)(add_my_token)
    router.delete("/me/tokens/{token_id}", status_code=HTTP_204_NO_CONTENT)(revoke_my_token)
    router.get("/me/sessions")(my_sessions)
    router.delete("/me/sessions/{session_id}", status_code=HTTP_204_NO_CONTENT)(end_my_session)
    router.get("/users")(users)
    router.post("/users", status_code=HTTP_201_CREATED)(add_user)
    router.get("/users/{name}")(user)
    router.delete("/users/{name}", status_code=HTTP_204_NO_CONTENT)(remove_user)
    router.put("/users/{name}/role", status_code=HTTP_204_NO_CONTENT)(set_role)
    router.put("/users/{name}/password", status_code=HTTP_204_NO_CONTENT)(set_password)
    router.get("/tokens")(tokens)
    router.get("/account-changes")(changes)
    router.delete("/tokens/{token_id}", status_code=HTTP_204_NO_CONTENT)(revoke_token)
    return router


def me(asking: Annotated[User, Depends(viewer)]) -> Me:
    """Who I am, and what I may do."""
    return Me(name=asking.name, role=_name(asking.role), means=asking.means.value)


def change_my_password(
    request: Request, asking: Annotated[User, Depends(person)], body: OwnPassword
) -> None:
    """Give myself a new password; my other sessions end."""
    access_of(request).change_password(
        asking.name,
        body.old,
        body.password,
        keep_session=cookie(request, SESSION),
        visitor=visitor_of(request),
    )


def my_tokens(request: Request, asking: Annotated[User, Depends(person)]) -> Sequence[TokenOut]:
    """My tokens, the newest first."""
    return [_token(token) for token in access_of(request).tokens(asking.name)]


def add_my_token(
    request: Request, asking: Annotated[User, Depends(person)], body: NewToken
) -> TokenMade:
    """Make a token of mine; the answer is the only one that ever holds it."""
    token, secret = access_of(request).add_token(
        body.name, Role[body.role.upper()], body.days, owner=asking.name, by=asking.name
    )
    return TokenMade(token=secret, **_token(token).model_dump())


def revoke_my_token(
    request: Request, asking: Annotated[User, Depends(person)], token_id: Number
) -> None:
    """End a token of mine."""
    access_of(request).revoke_token(token_id, by=asking.name, owner=asking.name)


def my_sessions(request: Request, asking: Annotated[User, Depends(person)]) -> Sequence[SessionOut]:
    """Where I am signed in, the last used first."""
    secret = cookie(request, SESSION)
    return [_session(one) for one in access_of(request).sessions(asking.name, secret=secret)]


def end_my_session(
    request: Request, asking: Annotated[User, Depends(person)], session_id: Number
) -> None:
    """Sign out in one browser."""
    access_of(request).end_session(asking.name, session_id)


def users(request: Request, asking: Annotated[User, Depends(admin)]) -> Sequence[UserOut]:
    """All users, by name."""
    return [_user(account) for account in access_of(request).accounts()]


def add_user(request: Request, asking: Annotated[User, Depends(admin)], body: NewUser) -> UserOut:
    """Make a user; the first has to be an admin."""
    return _user(
        access_of(request).add_user(
            body.name, Role[body.role.upper()], body.password, by=asking.name
        )
    )


def user(request: Request, asking: Annotated[User, Depends(admin)], name: Name) -> UserOut:
    """One user."""
    return _user(access_of(request).account(name))


def remove_user(request: Request, asking: Annotated[User, Depends(admin)], name: Name) -> None:
    """Remove a user, whose sessions and tokens end."""
    access_of(request).remove_user(name, by=asking.name)


def set_role(
    request: Request, asking: Annotated[User, Depends(admin)], name: Name, body: NewRole
) -> None:
    """Give a user another role, in force at once."""
    access_of(request).set_role(name, Role[body.role.upper()], by=asking.name)


def set_password(
    request: Request, asking: Annotated[User, Depends(admin)], name: Name, body: NewPassword
) -> None:
    """Give a user a new password; their sessions end."""
    access_of(request).set_password(name, body.password, by=asking.name)


def tokens(request: Request, asking: Annotated[User, Depends(admin)]) -> Sequence[TokenOut]:
    """Everybody's tokens, the newest first."""
    return [_token(token) for token in access_of(request).tokens()]


def revoke_token(
    request: Request, asking: Annotated[User, Depends(admin)], token_id: Number
) -> None:
    """End anybody's token."""
    access_of(request).revoke_token(token_id, by=asking.name)


def changes(request: Request, asking: Annotated[User, Depends(admin)]) -> Sequence[ChangeOut]:
    """What was last done to users and tokens, and by whom, the newest first."""
    return [
        ChangeOut(at=change.at, text=change.text, actor=change.actor)
        for change in access_of(request).changes()
    ]


def _name(role: Role) -> RoleName:
    names: dict[Role, RoleName] = {
        Role.VIEWER: "viewer",
        Role.OPERATOR: "operator",
        Role.ADMIN: "admin",
    }
    return names[role]


def _user(account: Account) -> UserOut:
    return UserOut(
        name=account.name,
        role=_name(account.role),
        origin=account.origin.value,
        created_at=account.created_at,
        created_by=account.created_by,
        last_sign_in_at=account.last_sign_in_at,
    )


def _token(token: ApiToken) -> TokenOut:
    return TokenOut(
        id=token.id,
        name=token.name,
        owner=token.owner,
        role=_name(token.role),
        created_at=token.created_at,
        created_by=token.created_by,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
    )


def _session(session: Session) -> SessionOut:
    return SessionOut(
        id=session.id,
        began_at=session.began_at,
        last_used_at=session.last_used_at,
        address=session.address,
        browser=session.browser,
        current=session.current,
    )
