"""dicom.view_codes: the same view however the sender says it."""

from __future__ import annotations

import pytest

from cadnode.dicom.view_codes import modifier_of_code, view_of_code, view_of_text
from tests.objects import MODIFIERS, VIEWS


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize(("column", "scheme"), [(0, "SCT"), (1, "SRT"), (1, "SNM3"), (1, "99SDM")])
def test_every_view_is_known_in_every_scheme(name: str, column: int, scheme: str):
    assert view_of_code(VIEWS[name][column], scheme) == name


@pytest.mark.parametrize("name", MODIFIERS)
@pytest.mark.parametrize(("column", "scheme"), [(0, "SCT"), (1, "SRT")])
def test_every_modifier_is_known_in_every_scheme(name: str, column: int, scheme: str):
    assert modifier_of_code(MODIFIERS[name][column], scheme, "whatever it is called") == name


def test_a_code_of_another_scheme_is_not_a_view():
    assert view_of_code("R-10242", "LOCAL") is None


def test_an_unknown_modifier_keeps_the_meaning_its_sender_gave():
    assert modifier_of_code("X1", "LOCAL", " Lifted ") == "lifted"


@pytest.mark.parametrize(
    ("text", "view", "modifiers"),
    [
        ("CC", "CC", ()),
        ("mlo", "MLO", ()),
        (" MLO ", "MLO", ()),
        ("RMLO", "MLO", ()),
        ("LCC", "CC", ()),
        ("LMLO", "MLO", ()),
        ("L-CC", "CC", ()),
        ("ML", "ML", ()),
        ("LML", "ML", ()),
        ("LM", "LM", ()),
        ("RLM", "LM", ()),
        ("LMO", "LMO", ()),
        ("XCCL", "XCCL", ()),
        ("MCC", "CC", ("magnification",)),
        ("RMCC", "CC", ("magnification",)),
        ("MMLO", "MLO", ("magnification",)),
        ("MML", "ML", ("magnification",)),
        ("SMCC", "CC", ("spot compression", "magnification")),
        ("CCID", "CC", ("implant displaced",)),
        ("LMLOID", "MLO", ("implant displaced",)),
        ("CCRL", "CC", ("rolled lateral",)),
        ("MLOAT", "MLO", ("axillary tail",)),
        ("AT", "MLO", ("axillary tail",)),
        ("SPECIMEN", "SPECIMEN", ()),
        ("", None, ()),
        ("AP", None, ()),
        ("CCX", None, ()),
    ],
)
def test_view_position_is_read_as_it_is_customarily_written(
    text: str, view: str | None, modifiers: tuple[str, ...]
):
    assert view_of_text(text) == (view, modifiers)
