"""The page of the search, and the dialogs of what can be done with exams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse
from pydantic import TypeAdapter
from starlette.datastructures import FormData

from cadnode.core.errors import NotFound
from cadnode.core.jobs import ExamStatus
from cadnode.core.search import Count, Cursor, ExamSearch, Guess, Order, SearchPage, guesses
from cadnode.web.access import Role, User, operator, viewer
from cadnode.web.console import Console
from cadnode.web.exams.actions import WORDS, Action, perform_all, possible
from cadnode.web.exams.form import Asked, asked_of, search_of, text_of, understood_as
from cadnode.web.exams.table import csv_lines
from cadnode.web.pages import render

PER_PAGE = 50
MOST_AT_ONCE = 500
"""Exams that one confirmation is about."""

SHORTEST_REASON, LONGEST_REASON = 3, 300

TONES: Mapping[ExamStatus, str] = {
    ExamStatus.FAILED: "bad",
    ExamStatus.DELIVERED: "good",
    ExamStatus.COMMITTED: "good",
    ExamStatus.CANCELLED: "warn",
}


async def sent_form(request: Request) -> FormData:
    """The fields of the form in the body of a request."""
    return await request.form()


Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
NUMBER: TypeAdapter[int] = TypeAdapter(Number)
Sent = Annotated[FormData, Depends(sent_form)]


def pages(console: Console) -> APIRouter:
    """`/exams`, the file of a search, and `/exams/confirm` and `/exams/do` of its actions."""
    router = APIRouter()

    @router.get("/exams")
    def show(request: Request, user: Annotated[User, Depends(viewer)]) -> Response:
        asked = asked_of(request.query_params).without_private()
        return _page(request, console, user, asked, request.query_params.get("cursor", ""))

    @router.post("/exams")
    def search(request: Request, sent: Sent, user: Annotated[User, Depends(viewer)]) -> Response:
        return _page(request, console, user, asked_of(sent), str(sent.get("cursor", "")))

    @router.post("/exams/csv")
    def as_csv(sent: Sent, user: Annotated[User, Depends(viewer)]) -> Response:
        found, _ = search_of(asked_of(sent))
        name = f"exams-{console.clock().astimezone():%Y%m%d-%H%M%S}.csv"
        return StreamingResponse(
            csv_lines(console.exams.stream(found)),
            media_type="text/csv; charset=utf-8",
            headers={
                "Content-Disposition": f'attachment; filename="{name}"',
                "Cache-Control": "no-store",
            },
        )

    @router.get("/exams/{exam_id}/actions")
    def actions(
        request: Request, exam_id: Number, user: Annotated[User, Depends(viewer)]
    ) -> HTMLResponse:
        found = console.exams.find(ExamSearch(exam_id=exam_id), limit=1).exams
        if not found:
            raise NotFound(f"there is no exam {exam_id}")
        return render(
            request,
            "exams/actions.html",
            exam_id=exam_id,
            found=found[0],
            others=console.exams.others_of_accession(exam_id),
            possible=[(action, WORDS[action].title) for action in possible(found[0])]
            if user.role >= Role.OPERATOR
            else [],
            by_script="HX-Request" in request.headers,
        )

    @router.post("/exams/confirm")
    def confirm(
        request: Request, sent: Sent, user: Annotated[User, Depends(operator)]
    ) -> HTMLResponse:
        return _dialog(request, console, *_action(console, sent), problem="")

    @router.post("/exams/do")
    def act(request: Request, sent: Sent, user: Annotated[User, Depends(operator)]) -> HTMLResponse:
        action, exam_ids = _action(console, sent)
        why, to = text_of(sent, "why", LONGEST_REASON), text_of(sent, "to")
        if action is Action.CANCEL and len(why) < SHORTEST_REASON:
            problem = "Say why: the reason is kept with the exam."
            return _dialog(request, console, action, exam_ids, problem=problem)
        outcomes = perform_all(
            console.exams, action, exam_ids, by=user.name, why=why, to=to or None
        )
        return render(
            request,
            "exams/outcome.html",
            words=WORDS[action],
            outcomes=outcomes,
            done=sum(outcome.done for outcome in outcomes),
            by_script="HX-Request" in request.headers,
        )

    return router


def _page(request: Request, console: Console, user: User, asked: Asked, place: str) -> Response:
    exams, typed, meaning = console.exams, asked, ""
    guess: Guess | None = None
    if asked.q:
        today = console.clock().astimezone().date()
        guess = exams.first_that_finds(guesses(asked.q, today=today))
    if guess is not None:
        asked, meaning = understood_as(asked, guess), guess.meaning
    search, problems = search_of(asked)
    by_script = "HX-Request" in request.headers
    if request.method == "POST" and not (asked.is_private or problems or by_script):
        # So that the page has an address that can be kept and loaded again.
        return RedirectResponse(asked.address(), status_code=303)
    nothing = bool(asked.q)
    cursor = _cursor(place)
    page = SearchPage(()) if nothing else exams.find(search, limit=PER_PAGE, cursor=cursor)
    answer = render(
        request,
        "exams/page.html",
        # The form as it was sent, and what it was understood as.
        typed=typed,
        asked=asked,
        meaning=meaning,
        nothing=nothing,
        problems=problems,
        page=page,
        failures=_failures(page),
        count=Count(0, exact=True) if nothing else exams.count(search),
        order=search.order,
        place=place,
        statuses=list(ExamStatus),
        orders={Order.NEWEST: "newest first", Order.WAITING_LONGEST: "waiting longest first"},
        senders=exams.senders(),
        keeps_identifiers=exams.keeps_identifiers,
        tones=TONES,
        actions={action: WORDS[action].title for action in Action},
        may_act=user.role >= Role.OPERATOR,
    )
    if by_script:
        answer.headers["HX-Push-Url"] = asked.address(cursor="" if asked.is_private else place)
    # What a person was looked for by stays out of every cache.
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _dialog(
    request: Request, console: Console, action: Action, exam_ids: Sequence[int], problem: str
) -> HTMLResponse:
    return render(
        request,
        "exams/confirm.html",
        action=action,
        words=WORDS[action],
        exam_ids=exam_ids,
        destinations=console.exams.destinations() if action is Action.RESEND else [],
        problem=problem,
        by_script="HX-Request" in request.headers,
    )


def _action(console: Console, sent: FormData) -> tuple[Action, Sequence[int]]:
    code = text_of(sent, "code")
    if code:
        return Action.RETRY, list(islice(console.exams.failed_with(code), MOST_AT_ONCE))
    try:
        action = Action(str(sent.get("action", "")))
        exam_ids = [NUMBER.validate_python(number) for number in sent.getlist("exam_id")]
    except ValueError as error:
        raise HTTPException(422, "no such action, or no such exam") from error
    return action, list(dict.fromkeys(exam_ids))[:MOST_AT_ONCE]


def _failures(page: SearchPage) -> Sequence[str]:
    """The codes with which exams of the page failed."""
    failed = (one.exam for one in page.exams if one.exam.status is ExamStatus.FAILED)
    return sorted({exam.error_code for exam in failed if exam.error_code})


def _cursor(place: str) -> Cursor | None:
    try:
        return Cursor.of(place) if place else None
    except ValueError:
        return None
