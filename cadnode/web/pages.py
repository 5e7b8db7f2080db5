"""How pages are made: the templates with what all of them need."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from cadnode.web.access.csrf import token_of

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class MenuItem:
    """One entry of the main menu."""

    title: str
    path: str


MENU = (
    MenuItem("Today", "/"),
    MenuItem("Exams", "/exams"),
    MenuItem("Model", "/model"),
    MenuItem("Settings", "/settings"),
)


def render(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """The page made from `templates/<template>`, which has `user`, `console` and `menu` too."""
    return _templates().TemplateResponse(
        request,
        template,
        {
            "console": request.app.state.console,
            "user": getattr(request.state, "user", None),
            "menu": MENU,
            **values,
        },
        status_code=status,
    )


def local_time(moment: datetime | None) -> str:
    """A moment in the node's own time zone, which is named, to the second."""
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def age(span: timedelta | float | None) -> str:
    """How long something has lasted, in the two largest units that count: "3 h 5 min"."""
    if span is None:
        return ""
    seconds = int(span.total_seconds() if isinstance(span, timedelta) else span)
    if seconds < 0:
        return "0 s"
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    units = ((days, "d"), (hours, "h"), (minutes, "min"), (seconds % 60, "s"))
    first = next((place for place, (count, _) in enumerate(units) if count), len(units) - 1)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2] if count) or "0 s"


def csrf_token(request: Request) -> str:
    """What a request that changes something has to bring along, see cadnode.web.access.csrf."""
    return token_of(request)


@pass_context
def csrf_field(context: Context) -> Markup:
    """The same as a hidden field, for forms that work without scripts."""
    token = token_of(context["request"])
    return Markup('<input type="hidden" name="csrf_token" value="{}">').format(token)


@functools.cache
def _templates() -> Jinja2Templates:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["csrf_token"] = csrf_token
    environment.globals["csrf_field"] = csrf_field
    environment.filters["local_time"] = local_time
    environment.filters["age"] = age
    return Jinja2Templates(env=environment)
