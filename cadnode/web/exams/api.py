"""The search and its actions, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from cadnode.core.jobs import ExamStatus
from cadnode.core.search import SHORTEST_PREFIX, Cursor, ExamSearch, FoundExam, Order
from cadnode.web.access import User, operator, viewer
from cadnode.web.console import Console
from cadnode.web.exams.actions import Action, Outcome, perform, perform_all
from cadnode.web.exams.ports import Exams
from cadnode.web.exams.table import csv_lines

_ERRORS: dict[int | str, dict[str, str]] = {
    404: {"description": "No such exam"},
    409: {"description": "Not from the status it is in"},
}

# PostgreSQL has no NUL.
_NO_NUL = r"^[^\x00]*$"
Text = Annotated[str, Field(min_length=1, max_length=64, pattern=_NO_NUL)]
ExamNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("there is no such time in UTC") from error


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Place = Annotated[str, Field(max_length=60, description="`next` or `previous` of an answer")]


class PublicSearch(BaseModel):
    """What may stand in an address; all that is given must fit."""

    uid: Annotated[Text | None, Field(description="Of a study, series, image or result")] = None
    received_from: Moment | None = None
    received_before: Moment | None = None
    status: Annotated[list[ExamStatus], Field(max_length=len(ExamStatus))] = []
    sender: Annotated[Text | None, Field(description="AE title it came from")] = None
    code: Annotated[Text | None, Field(description="Why it waits or failed, as E602")] = None
    order: Order = Order.NEWEST
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Place | None = None


class FullSearch(PublicSearch):
    """With what names a patient: in the body of a request, never in its address."""

    accession_number: Text | None = None
    patient_id: Text | None = None
    by_beginning: Annotated[bool, Field(description="`patient_id` is only how it begins")] = False
    studied_from: date | None = None
    studied_to: date | None = None


class FoundLine(BaseModel):
    """One exam."""

    id: int
    study_instance_uid: str
    revision: int
    status: ExamStatus
    priority: int
    received_at: datetime
    last_image_at: datetime
    patient_id: str | None
    accession_number: str | None
    study_date: date | None
    sender: str
    images: int
    images_analyzed: int
    findings: int
    deliveries_pending: int
    deliveries_failed: int
    proofs_pending: int
    code: str | None
    error: str | None
    waits_for: str


class SearchAnswer(BaseModel):
    """One page."""

    exams: list[FoundLine]
    next: str | None
    previous: str | None
    looked_until: datetime | None
    """Set when the search stopped early to answer in time; `next` goes on there."""
    count: int
    count_is_exact: bool


class Reason(BaseModel):
    """Why an exam is given up; without the name of a patient."""

    why: Annotated[str, Field(min_length=3, max_length=300, pattern=_NO_NUL)]


class Target(BaseModel):
    """Where to send again; without a name, to every enabled destination."""

    destination: Text | None = None


class NewPriority(BaseModel):
    """`urgent` goes before `normal`."""

    urgent: bool


class FailedCode(BaseModel):
    """What the exams failed with, as E602."""

    code: Text


def api(console: Console) -> APIRouter:
    """`/exams`, `/exams/search`, `/exams/search.csv` and the actions of one exam."""
    router = APIRouter(prefix="/exams", tags=["exams"])
    exams = console.exams

    @router.get("")
    def listed(
        asked: Annotated[PublicSearch, Query()], user: Annotated[User, Depends(viewer)]
    ) -> SearchAnswer:
        """Exams by what may stand in an address."""
        return _answer(console, asked)

    @router.post("/search")
    def search(asked: FullSearch, user: Annotated[User, Depends(viewer)]) -> SearchAnswer:
        """Exams by anything, Patient ID and accession number too. Changes nothing."""
        return _answer(console, asked)

    @router.post(
        "/search.csv",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/csv": {}}}},
    )
    def search_csv(asked: FullSearch, user: Annotated[User, Depends(viewer)]) -> StreamingResponse:
        """Every exam that fits, as a file; `limit` and `cursor` do not count."""
        return StreamingResponse(csv_lines(exams.stream(_search(asked))), media_type="text/csv")

    @router.get("/{exam_id}/accession", responses={404: {"description": "No such exam"}})
    def others(exam_id: ExamNumber, user: Annotated[User, Depends(viewer)]) -> Sequence[FoundLine]:
        """Exams of other studies under the same accession number."""
        return [_line(one) for one in exams.others_of_accession(exam_id)]

    _add_actions(router, exams)
    return router


def _add_actions(router: APIRouter, exams: Exams) -> None:
    @router.post("/retry")
    def retry_all(
        failed: FailedCode, user: Annotated[User, Depends(operator)]
    ) -> Sequence[Outcome]:
        """Start every exam again that failed with this code."""
        return perform_all(exams, Action.RETRY, exams.failed_with(failed.code), by=user.name)

    @router.post("/{exam_id}/retry", responses=_ERRORS)
    def retry(exam_id: ExamNumber, user: Annotated[User, Depends(operator)]) -> Outcome:
        """Start a failed exam again at the step that failed; try at once what waits."""
        return perform(exams, Action.RETRY, exam_id, by=user.name)

    @router.post("/{exam_id}/cancel", responses=_ERRORS)
    def cancel(
        exam_id: ExamNumber, reason: Reason, user: Annotated[User, Depends(operator)]
    ) -> Outcome:
        """Give an exam up for good, or the proofs that a delivered one waits for."""
        return perform(exams, Action.CANCEL, exam_id, by=user.name, why=reason.why)

    @router.post("/{exam_id}/reanalyze", responses=_ERRORS)
    def reanalyze(exam_id: ExamNumber, user: Annotated[User, Depends(operator)]) -> Outcome:
        """Read every image of the study again, as a new revision."""
        return perform(exams, Action.REANALYZE, exam_id, by=user.name)

    @router.post("/{exam_id}/resend", responses=_ERRORS)
    def resend(
        exam_id: ExamNumber, target: Target, user: Annotated[User, Depends(operator)]
    ) -> Outcome:
        """Send the stored result objects again, as they are."""
        return perform(exams, Action.RESEND, exam_id, by=user.name, to=target.destination)

    @router.post("/{exam_id}/priority", responses=_ERRORS)
    def priority(
        exam_id: ExamNumber, to: NewPriority, user: Annotated[User, Depends(operator)]
    ) -> Outcome:
        """Put an exam before all that are not urgent, or among them again."""
        action = Action.URGENT if to.urgent else Action.NORMAL
        return perform(exams, action, exam_id, by=user.name)


def _answer(console: Console, asked: PublicSearch) -> SearchAnswer:
    search = _search(asked)
    try:
        cursor = None if asked.cursor is None else Cursor.of(asked.cursor)
    except ValueError as error:
        raise _wrong("cursor", str(error)) from error
    page = console.exams.find(search, limit=asked.limit, cursor=cursor)
    count = console.exams.count(search)
    return SearchAnswer(
        exams=[_line(one) for one in page.exams],
        next=None if page.later is None else str(page.later),
        previous=None if page.earlier is None else str(page.earlier),
        looked_until=page.looked_until,
        count=count.number,
        count_is_exact=count.exact,
    )


def _search(asked: PublicSearch) -> ExamSearch:
    private = asked if isinstance(asked, FullSearch) else FullSearch()
    if private.by_beginning and len(private.patient_id or "") < SHORTEST_PREFIX:
        raise _wrong("patient_id", f"a beginning has at least {SHORTEST_PREFIX} characters")
    return ExamSearch(
        uid=asked.uid,
        accession_number=private.accession_number,
        patient_id=private.patient_id,
        by_beginning=private.by_beginning,
        received_from=asked.received_from,
        received_before=asked.received_before,
        studied_from=private.studied_from,
        studied_to=private.studied_to,
        statuses=frozenset(asked.status),
        calling_ae=asked.sender,
        error_code=asked.code,
        order=asked.order,
    )


def _wrong(name: str, message: str) -> RequestValidationError:
    return RequestValidationError([{"loc": (name,), "msg": message, "type": "value_error"}])


def _line(found: FoundExam) -> FoundLine:
    exam, known = found.exam, found.identifiers
    return FoundLine(
        id=exam.id,
        study_instance_uid=exam.study_instance_uid,
        revision=exam.revision,
        status=exam.status,
        priority=found.priority,
        received_at=exam.created_at,
        last_image_at=exam.last_image_at,
        patient_id=known.patient_id,
        accession_number=known.accession_number,
        study_date=known.study_date,
        sender=found.calling_ae,
        images=exam.images,
        images_analyzed=exam.images_analyzed,
        findings=exam.findings,
        deliveries_pending=exam.deliveries_pending,
        deliveries_failed=exam.deliveries_failed,
        proofs_pending=exam.proofs_pending,
        code=exam.error_code,
        error=exam.error_text,
        waits_for=exam.waits_for,
    )
