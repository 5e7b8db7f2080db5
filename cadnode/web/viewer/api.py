"""One exam, for programs, and the pixels and files that its page shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from cadnode.core.content_tree import ContentItem
from cadnode.core.records import DeliveryRecord, EventRecord, ResultRecord
from cadnode.web.access import User, viewer
from cadnode.web.access.cookies import caller_of
from cadnode.web.console import Console
from cadnode.web.viewer.heat import heat_picture
from cadnode.web.viewer.ports import Download, TileSource
from cadnode.web.viewer.shapes import (
    FindingsAnswer,
    ImageAnswer,
    PatchScoresAnswer,
    image_answer,
    patch_scores_answer,
)
from cadnode.web.viewer.turns import Turns, turns

Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
"""Of an exam, an image or a result."""
Place = Annotated[int, Path(ge=0, le=1 << 20)]
"""Of a tile."""

PRIVATE = "private, no-store"
PIXELS = "private, max-age=3600"
"""Kept by the reader's own browser only: the same pixels are asked for again at every turn."""
CHUNK = 1 << 16
PICTURES_AT_ONCE = 16
"""Tiles, pictures and archives that are made at one moment, each in a thread."""

_Answers = dict[int | str, dict[str, Any]]
_PNG: _Answers = {200: {"content": {"image/png": {}}}}
_TILE: _Answers = {200: {"content": {"image/png": {}, "image/jpeg": {}}}}
_DICOM: _Answers = {200: {"content": {"application/dicom": {}}}}
_ZIP: _Answers = {200: {"content": {"application/zip": {}}}}
_XML: _Answers = {200: {"content": {"application/xml": {}}}}


def api(console: Console) -> APIRouter:
    """Everything below /exams/{exam_id} that is about one exam's content."""

    def noted(exam_id: Number, request: Request, user: Annotated[User, Depends(viewer)]) -> None:
        console.viewer.note_access(exam_id, user.name, caller_of(request).address)

    def private(response: Response) -> None:
        response.headers["Cache-Control"] = PRIVATE

    router = APIRouter(prefix="/exams/{exam_id}", tags=["one exam"])
    history = APIRouter(dependencies=[Depends(viewer), Depends(private)])
    content = APIRouter(dependencies=[Depends(noted), Depends(private)])
    _add_history(history, console)
    _add_images(content, console)
    in_turn = turns(PICTURES_AT_ONCE)
    _add_pixels(content, console, in_turn)
    _add_results(content, console, in_turn)
    router.include_router(history)
    router.include_router(content)
    return router


def _add_history(router: APIRouter, console: Console) -> None:
    @router.get("/events")
    def events(exam_id: Number) -> tuple[EventRecord, ...]:
        """What happened to the exam, in order of time."""
        return console.viewer.detail(exam_id).events

    @router.get("/deliveries")
    def deliveries(exam_id: Number) -> tuple[DeliveryRecord, ...]:
        """Where each result stands at each destination, and whether it is proved to be there."""
        return console.viewer.detail(exam_id).deliveries

    @router.get("/results")
    def results(exam_id: Number) -> tuple[ResultRecord, ...]:
        """The result objects of the exam."""
        return console.viewer.detail(exam_id).results


def _add_images(router: APIRouter, console: Console) -> None:
    @router.get("/images")
    def images(exam_id: Number) -> list[ImageAnswer]:
        """The images of the exam and of earlier revisions of its study, with their findings."""
        return [image_answer(image) for image in console.viewer.exam(exam_id).images]

    @router.get("/images/{image_id}")
    def image(exam_id: Number, image_id: Number) -> ImageAnswer:
        """One image with its findings."""
        return image_answer(console.viewer.image(exam_id, image_id))

    @router.get("/images/{image_id}/patch-scores")
    def patch_scores(exam_id: Number, image_id: Number) -> PatchScoresAnswer:
        """What the model said of each patch, and the heat map made of it."""
        return patch_scores_answer(console.viewer.patch_map(exam_id, image_id))

    @router.get("/findings")
    def findings(
        exam_id: Number, response: Response, download: Annotated[bool, Query()] = False
    ) -> FindingsAnswer:
        """What was found, in the shape of findings.json; `download` names it as a file."""
        if download:
            name = f"exam-{exam_id}-findings.json"
            response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return FindingsAnswer.model_validate(console.viewer.findings(exam_id))


def _add_pixels(router: APIRouter, console: Console, in_turn: Turns) -> None:
    @router.get("/images/{image_id}/tiles")
    @in_turn
    def tiles(exam_id: Number, image_id: Number) -> TileSource:
        """The measures of the image's tiles. 422 with the reason when it cannot be decoded."""
        return console.viewer.tile_source(exam_id, image_id)

    @router.get("/images/{image_id}/tiles.dzi", response_class=Response, responses=_XML)
    @in_turn
    def deep_zoom(exam_id: Number, image_id: Number) -> Response:
        """The same as a Deep Zoom descriptor."""
        source = console.viewer.tile_source(exam_id, image_id)
        return Response(_descriptor(source), headers=_kept("application/xml"))

    @router.get(
        "/images/{image_id}/tiles_files/{level}/{column}_{row}.{extension}",
        response_class=Response,
        responses=_TILE,
    )
    @in_turn
    def tile(
        exam_id: Number,
        image_id: Number,
        level: Place,
        column: Place,
        row: Place,
        extension: Literal["png", "jpg"],
    ) -> Response:
        """One tile; PNG loses nothing. The deepest level is the image pixel for pixel."""
        content = console.viewer.tile(exam_id, image_id, level, column, row, extension)
        kind = "image/png" if extension == "png" else "image/jpeg"
        return Response(content, headers=_kept(kind))

    @router.get("/images/{image_id}/heat.png", response_class=Response, responses=_PNG)
    def heat(exam_id: Number, image_id: Number) -> Response:
        """The heat map as a picture, one pixel for each cell."""
        picture = heat_picture(console.viewer.patch_map(exam_id, image_id))
        return Response(picture.content, headers=_kept("image/png"))

    @router.get("/images/{image_id}/picture.png", response_class=Response, responses=_PNG)
    @in_turn
    def picture(exam_id: Number, image_id: Number) -> Response:
        """The image with its marks drawn on it, at full resolution."""
        return _attachment(console.viewer.picture(exam_id, image_id), "image/png")


def _add_results(router: APIRouter, console: Console, in_turn: Turns) -> None:
    @router.get("/results/{result_id}")
    def result(exam_id: Number, result_id: Number) -> ResultRecord:
        """One result object."""
        return console.viewer.result(exam_id, result_id)

    @router.get("/results/{result_id}/tree")
    def tree(exam_id: Number, result_id: Number) -> ContentItem:
        """The content of a structured report. 422 for an object without any."""
        return console.viewer.result_tree(exam_id, result_id)

    @router.get("/results/{result_id}/file", response_class=Response, responses=_DICOM)
    def file(exam_id: Number, result_id: Number) -> Response:
        """The DICOM file as it is sent."""
        return _attachment(console.viewer.result_file(exam_id, result_id), "application/dicom")

    @router.get("/archive.zip", response_class=Response, responses=_ZIP)
    @in_turn
    def archive(exam_id: Number) -> Response:
        """Every result object, every picture and the findings in one zip file."""
        name = f"exam-{exam_id}.zip"
        headers = {
            "Cache-Control": PRIVATE,
            "Content-Disposition": f'attachment; filename="{name}"',
        }
        content = _chunks(console.viewer.archive(exam_id))
        return StreamingResponse(content, media_type="application/zip", headers=headers)


def _descriptor(source: TileSource) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="jpg" '
        f'Overlap="{source.overlap}" TileSize="{source.tile_size}">'
        f'<Size Width="{source.width}" Height="{source.height}"/></Image>'
    )


def _kept(kind: str) -> dict[str, str]:
    return {"Content-Type": kind, "Cache-Control": PIXELS}


def _attachment(download: Download, kind: str) -> Response:
    return Response(
        download.content,
        headers={
            "Content-Type": kind,
            "Cache-Control": PRIVATE,
            "Content-Disposition": f'attachment; filename="{download.name}"',
        },
    )


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk
