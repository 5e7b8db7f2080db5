"""The page of one exam, its part that refreshes itself, and the content of a result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from cadnode.core.exam import ImageState
from cadnode.core.findings import Finding
from cadnode.core.jobs import FINISHED, DeliveryStatus, ExamStatus
from cadnode.core.proof import ProofState
from cadnode.core.records import DeliveryRecord, ExamDetail, ResultRecord
from cadnode.core.words import size
from cadnode.web.access import User, viewer
from cadnode.web.access.cookies import caller_of
from cadnode.web.console import Console
from cadnode.web.pages import local_time, render
from cadnode.web.viewer.api import PRIVATE, Number
from cadnode.web.viewer.hanging import hang
from cadnode.web.viewer.heat import heat_picture
from cadnode.web.viewer.ports import OperatingPoints, ViewedExam, ViewedImage
from cadnode.web.viewer.timeline import happenings, stages, who

REFRESH_SECONDS = 5

KIND_NAMES = {
    "mammography-cad-sr": "Mammography CAD SR",
    "tid1500-sr": "Measurement report (TID 1500)",
    "gsps": "Presentation state",
    "secondary-capture": "Secondary capture",
    "segmentation": "Segmentation",
}
"""Other kinds are called by their own name."""

STATUS_TONES = {
    ExamStatus.FAILED: "bad",
    ExamStatus.CANCELLED: "warn",
    ExamStatus.DELIVERED: "good",
    ExamStatus.COMMITTED: "good",
}


def pages(console: Console) -> APIRouter:
    """`/exams/{exam_id}` and what it loads."""
    router = APIRouter()

    @router.get("/exams/{exam_id}")
    def whole(
        request: Request, exam_id: Number, user: Annotated[User, Depends(viewer)]
    ) -> HTMLResponse:
        exam = console.viewer.exam(exam_id)
        console.viewer.note_access(exam_id, user.name, _host(request))
        values = _status_values(exam.detail, _names(exam)) | _exam_values(console, exam)
        return _private(render(request, "viewer/page.html", **values))

    @router.get("/exams/{exam_id}/status")
    def status(
        request: Request, exam_id: Number, user: Annotated[User, Depends(viewer)]
    ) -> HTMLResponse:
        detail = console.viewer.detail(exam_id)
        values = _status_values(detail, _names_in(detail))
        return _private(render(request, "viewer/status.html", **values))

    @router.get("/exams/{exam_id}/results/{result_id}")
    def result(
        request: Request,
        exam_id: Number,
        result_id: Number,
        user: Annotated[User, Depends(viewer)],
    ) -> HTMLResponse:
        found = console.viewer.result(exam_id, result_id)
        tree = console.viewer.result_tree(exam_id, result_id)
        console.viewer.note_access(exam_id, user.name, _host(request))
        part = "HX-Request" in request.headers
        page = render(
            request,
            "viewer/tree.html" if part else "viewer/result.html",
            exam_id=exam_id,
            result=found,
            kind=kind_name(found.kind),
            root=tree,
            names=_names_in(console.viewer.detail(exam_id)),
        )
        return _private(page)

    return router


def kind_name(kind: str) -> str:
    """What a person calls a kind of result object."""
    return KIND_NAMES.get(kind, kind)


def _private(page: HTMLResponse) -> HTMLResponse:
    page.headers["Cache-Control"] = PRIVATE
    return page


def _host(request: Request) -> str:
    return caller_of(request).address


def _names(exam: ViewedExam) -> Mapping[str, str]:
    """What to call images and results instead of their UID."""
    return _called(
        [(i.record.image.sop_instance_uid, i.view_name, i.id) for i in exam.images],
        exam.detail.results,
    )


def _names_in(detail: ExamDetail) -> Mapping[str, str]:
    """The same, as far as the database knows it."""
    return _called(
        [
            (i.sop_instance_uid, f"{i.laterality or '?'}{i.view or '?'}", i.id)
            for i in detail.images
        ],
        detail.results,
    )


def _called(
    images: Iterable[tuple[str, str, int]], results: Iterable[ResultRecord]
) -> Mapping[str, str]:
    names: dict[str, str] = {}
    seen = Counter[str]()
    for uid, view_name, number in images:
        known = view_name if "?" not in view_name else f"image {number}"
        seen[known] += 1
        names[uid] = known if seen[known] == 1 else f"{known} ({seen[known]})"
    return names | {result.sop_instance_uid: kind_name(result.kind) for result in results}


def _status_values(detail: ExamDetail, names: Mapping[str, str]) -> dict[str, Any]:
    exam = detail.exam
    return {
        "detail": detail,
        "exam": exam,
        "tone": STATUS_TONES.get(exam.status, "quiet"),
        "waits": waits(detail),
        "stages": stages(detail),
        "happenings": happenings(detail.events, names),
        "deliveries": [
            {"record": delivery, "kind": kind_name(delivery.kind), "tone": _delivery_tone(delivery)}
            for delivery in detail.deliveries
        ],
        "unfinished": _goes_on(detail),
        "refresh_seconds": REFRESH_SECONDS,
        "pictures_version": _pictures_version(detail),
    }


def waits(detail: ExamDetail) -> str:
    """What has to happen next, as a sentence, its times in the local zone."""
    text = detail.exam.waits_for
    if text.startswith("being worked on") and detail.lease_owner and detail.lease_until:
        until = local_time(detail.lease_until)
        return f"Being worked on by {who(detail.lease_owner)}, lease until {until}"
    if text.startswith("another try"):
        return f"Another try at {local_time(detail.due_at)}"
    if text.startswith("further images until"):
        return f"Waits for further images until {local_time(detail.due_at)}"
    if text == "nothing":
        return "Waits for nothing any more"
    return f"Waits for {text}"


def _goes_on(detail: ExamDetail) -> bool:
    """True while something still happens by itself."""
    if detail.exam.status is ExamStatus.FAILED:
        return False
    return detail.exam.status not in FINISHED or detail.exam.proofs_pending > 0


def _pictures_version(detail: ExamDetail) -> str:
    """Changes when the views have to be loaded anew: an image came, or was read."""
    exam = detail.exam
    return f"{exam.images}-{exam.images_waiting}-{exam.images_analyzed}-{len(detail.results)}"


def _delivery_tone(delivery: DeliveryRecord) -> str:
    if delivery.status is DeliveryStatus.FAILED or delivery.proof is ProofState.REFUSED:
        return "bad"
    return "good" if delivery.status is DeliveryStatus.DELIVERED else "quiet"


def _exam_values(console: Console, exam: ViewedExam) -> dict[str, Any]:
    exam_id = exam.detail.exam.id
    hanging = hang(exam.images)
    shown = [image for image in exam.images if image.tiles is not None]
    points = next((i.operating_points for i in shown if i.operating_points), None)
    return {
        "identifiers": exam.identifiers,
        "revisions": exam.revisions,
        "later": [r for r in exam.revisions if r.revision > exam.detail.exam.revision],
        "earlier": [r for r in exam.revisions if r.revision < exam.detail.exam.revision],
        "hanging": hanging,
        "images": (*(image for _, image in hanging.places if image), *hanging.further),
        "senders": _senders(exam),
        "size": size,
        "names": _names(exam),
        "points": points,
        "results": [_result_values(exam_id, result) for result in exam.detail.results],
        "purged": exam.detail.exam.status is ExamStatus.PURGED,
        "data": {
            "exam": exam_id,
            "images": [_image_data(console, exam_id, image) for image in shown],
            "points": points and {"thresholds": points.thresholds, "shown": points.recommended},
        },
        "marks_of": lambda image: numbered(image.record.image.findings),
        "read": ImageState.ANALYZED,
        "any_mirrored": any(image.mirrored for image in shown),
        "any_heat": any(image.has_patch_map for image in shown),
    }


def _senders(exam: ViewedExam) -> list[str]:
    """Every AE title that an image came from, each once."""
    came_from = [image.record.image.calling_ae for image in exam.images]
    return list(dict.fromkeys([exam.detail.calling_ae, *came_from]))


def _result_values(exam_id: int, result: ResultRecord) -> dict[str, Any]:
    is_report = result.sop_class_uid.startswith("1.2.840.10008.5.1.4.1.1.88.")
    return {
        "record": result,
        "kind": kind_name(result.kind),
        "size": size(result.size),
        "page": f"/exams/{exam_id}/results/{result.id}" if is_report else None,
        "file": f"/api/v1/exams/{exam_id}/results/{result.id}/file",
    }


def numbered(findings: tuple[Finding, ...]) -> list[tuple[int, Finding]]:
    """The findings as the pictures number them: 1 has the highest score."""
    return list(enumerate(sorted(findings, key=lambda finding: -finding.score), start=1))


def _image_data(console: Console, exam_id: int, image: ViewedImage) -> dict[str, Any]:
    """What the script needs to show one image; points are in received pixels."""
    known, tiles = image.record.image, image.tiles
    base = f"/api/v1/exams/{exam_id}/images/{image.id}"
    return {
        "id": image.id,
        "name": image.view_name,
        "read": known.state is ImageState.ANALYZED,
        "side": image.view_name[:1],
        "tiles": tiles
        and {
            "width": tiles.width,
            "height": tiles.height,
            "size": tiles.tile_size,
            "overlap": tiles.overlap,
            "levels": tiles.max_level,
            "url": f"{base}/tiles_files/",
            "version": known.sha256[:12],
        },
        "why": f"{base}/tiles",
        "mirrored": image.mirrored,
        "mmPerColumn": image.spacing.column if image.spacing else None,
        "thresholds": _thresholds(image.operating_points),
        "heat": _heat_data(console, exam_id, image, base),
        "marks": [
            {
                "number": number,
                "score": round(finding.score, 4),
                "point": finding.operating_point,
                "center": finding.center,
                "outline": finding.outline,
                "spots": [
                    [
                        *(round(value, 2) for value in spot.center),
                        round(spot.diameter_mm / 2 / image.spacing.column, 2),
                    ]
                    for spot in finding.calcifications
                    if image.spacing
                ],
            }
            for number, finding in numbered(known.findings)
        ],
    }


def _thresholds(points: OperatingPoints | None) -> list[float]:
    return list(points.thresholds) if points else []


def _heat_data(
    console: Console, exam_id: int, image: ViewedImage, base: str
) -> dict[str, Any] | None:
    if not image.has_patch_map:
        return None
    picture = heat_picture(console.viewer.patch_map(exam_id, image.id))
    return {
        "url": f"{base}/heat.png",
        "width": picture.width,
        "height": picture.height,
        "scores": f"{base}/patch-scores",
    }
