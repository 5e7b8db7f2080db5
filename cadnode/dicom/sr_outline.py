"""A structured report as nested plain values: any template, nothing interpreted."""

from __future__ import annotations

from pathlib import Path

from pydicom.sr.coding import Code

from cadnode.core.content_tree import CodedText, ContentItem
from cadnode.core.errors import ImageFailed, ResultInvalid
from cadnode.dicom.files import PARSE_ERRORS, ReadLimits, opened, quiet
from cadnode.dicom.sr_items import Item, parsed


def outline(path: Path) -> ContentItem:
    """The content tree of the SR object in a file.

    Raises ResultInvalid when it is none or cannot be made sense of, ImageUnreachable when the
    system refuses to read it.
    """
    try:
        with opened(path, ReadLimits()) as file, quiet():
            root = _content(parsed(file.dataset))
    except ImageFailed as error:
        raise ResultInvalid("the SR object cannot be read as DICOM") from error
    except PARSE_ERRORS as error:
        # Not the message: pydicom's may quote values, and a value may be a name.
        raise ResultInvalid(f"the SR object cannot be read: {type(error).__name__}") from error
    if root.value_type != "CONTAINER":
        raise ResultInvalid("the object has no content tree")
    return root


def _content(item: Item) -> ContentItem:
    sop_class_uid, sop_instance_uid = item.referenced_sop or ("", "")
    return ContentItem(
        path=_dotted(item.path),
        relationship=item.relationship,
        value_type=item.value_type,
        name=_coded(item.name),
        code=_coded(item.code),
        number=item.number,
        unit=_coded(item.unit),
        # A person's name has no place on a page that is about marks.
        text=None if item.value_type == "PNAME" else item.text,
        graphic_type=item.graphic_type,
        points=item.points,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        target=None if item.target is None else _dotted(item.target),
        children=tuple(_content(child) for child in item.children),
    )


def _dotted(path: tuple[int, ...]) -> str:
    return ".".join(map(str, path))


def _coded(code: Code | None) -> CodedText | None:
    return None if code is None else CodedText(code.value, code.scheme_designator, code.meaning)
