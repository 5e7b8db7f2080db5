"""core.eligibility: which images are read, and the one reason for each of the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadnode.core.eligibility import (
    LOSSLESS_SYNTAXES,
    MAMMOGRAPHY_CLASSES,
    SECONDARY_CAPTURE_CLASSES,
    TOMOSYNTHESIS_CLASSES,
    judge,
)
from cadnode.core.mammogram import ImageHeader, Intent, Laterality, PixelSpacing
from cadnode.core.reasons import Reason

VIEWS = frozenset({"CC", "MLO"})

GOOD = ImageHeader(
    sop_instance_uid="1.2.3",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.1.2",
    study_instance_uid="1.2.4",
    series_instance_uid="1.2.5",
    transfer_syntax_uid="1.2.840.10008.1.2.4.70",
    modality="MG",
    image_type=("DERIVED", "PRIMARY"),
    intent=Intent.PRESENTATION,
    laterality=Laterality.RIGHT,
    view="MLO",
    magnification_factor=1.05,
    rows=3328,
    columns=2560,
    samples_per_pixel=1,
    photometric_interpretation="MONOCHROME2",
    bits_allocated=16,
    bits_stored=12,
    spacing=PixelSpacing(0.07, 0.07),
    has_pixel_data=True,
)

# In the order in which the rules are asked: each case breaks its own rule and no earlier one.
CASES: tuple[tuple[Reason, dict[str, Any]], ...] = (
    (Reason.TOMOSYNTHESIS, {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.13.1.3"}),
    (Reason.SECONDARY_CAPTURE, {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.7"}),
    (Reason.NOT_A_MAMMOGRAM, {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.88.50"}),
    (Reason.OWN_RESULT, {"image_type": ("DERIVED", "SECONDARY")}),
    (Reason.SPECIMEN, {"view": "SPECIMEN"}),
    (Reason.IMPLANT, {"implant_present": True}),
    (Reason.MAGNIFICATION, {"view_modifiers": ("magnification",)}),
    (Reason.VIEW_MISSING, {"view": None}),
    (Reason.VIEW_NOT_READ, {"view": "ML"}),
    (Reason.LATERALITY_MISSING, {"laterality": None}),
    (Reason.NO_PIXEL_DATA, {"has_pixel_data": False}),
    (Reason.SYNTAX_UNSUPPORTED, {"transfer_syntax_uid": "1.2.840.10008.1.2.4.51"}),
    (Reason.NOT_MONOCHROME, {"samples_per_pixel": 3, "photometric_interpretation": "RGB"}),
    (Reason.MULTI_FRAME, {"frames": 2}),
    (Reason.SIZE_OUT_OF_RANGE, {"rows": 0}),
    (Reason.BIT_DEPTH, {"bits_stored": 8, "bits_allocated": 8}),
    (Reason.PIXEL_SPACING_MISSING, {"spacing": None}),
)


def judged(**changes: Any) -> Reason | None:
    return judge(replace(GOOD, **changes), analyzed_views=VIEWS)


def test_a_plain_screening_view_is_read():
    assert judged() is None


@pytest.mark.parametrize(("reason", "changes"), CASES, ids=lambda case: getattr(case, "name", ""))
def test_each_rule_alone_gives_its_reason(reason: Reason, changes: dict[str, Any]):
    assert judged(**changes) is reason


@given(st.sets(st.sampled_from(range(len(CASES))), min_size=1))
def test_of_several_broken_rules_the_first_in_the_documented_order_counts(broken: set[int]):
    changes: dict[str, Any] = {}
    for index in sorted(broken, reverse=True):
        changes |= CASES[index][1]
    assert judged(**changes) is CASES[min(broken)][0]


@given(
    view=st.sampled_from(["CC", "MLO", "ML", "LM", "XCCL", None]),
    bits=st.integers(1, 16) | st.none(),
    rows=st.integers(-1, 4096) | st.none(),
    factor=st.floats(0.5, 3) | st.none(),
)
def test_only_a_whole_contact_view_with_enough_bits_is_read(
    view: str | None, bits: int | None, rows: int | None, factor: float | None
):
    readable = (
        view in VIEWS
        and bits is not None
        and bits >= 10
        and rows is not None
        and rows > 0
        and (factor is None or factor < 1.3)
    )
    reason = judged(view=view, bits_stored=bits, rows=rows, magnification_factor=factor)
    assert (reason is None) == readable


@pytest.mark.parametrize("syntax", sorted(LOSSLESS_SYNTAXES))
def test_every_lossless_syntax_is_read(syntax: str):
    assert judged(transfer_syntax_uid=syntax) is None


@pytest.mark.parametrize(
    "syntax",
    [
        "",
        "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.4.50",
        "1.2.840.10008.1.2.4.81",
        "1.2.840.10008.1.2.4.91",
        "1.2.840.10008.1.2.4.203",
    ],
)
def test_lossy_and_unknown_syntaxes_are_failures_that_the_result_names(syntax: str):
    reason = judged(transfer_syntax_uid=syntax)
    assert reason is Reason.SYNTAX_UNSUPPORTED
    assert not reason.set_aside


@pytest.mark.parametrize("sop_class", sorted(TOMOSYNTHESIS_CLASSES))
def test_tomosynthesis_is_told_by_its_class(sop_class: str):
    assert judged(sop_class_uid=sop_class) is Reason.TOMOSYNTHESIS


@pytest.mark.parametrize("sop_class", sorted(SECONDARY_CAPTURE_CLASSES))
def test_a_colour_secondary_capture_is_set_aside_rather_than_failed(sop_class: str):
    changes = {"sop_class_uid": sop_class, "samples_per_pixel": 3, "has_pixel_data": False}
    assert judged(**changes) is Reason.SECONDARY_CAPTURE


@pytest.mark.parametrize("sop_class", sorted(MAMMOGRAPHY_CLASSES))
@pytest.mark.parametrize("modality", ["MG", None])
def test_both_intents_are_read(sop_class: str, modality: str | None):
    assert judged(sop_class_uid=sop_class, modality=modality) is None


@pytest.mark.parametrize(
    ("image_type", "reason"),
    [
        ((), None),
        (("ORIGINAL", "PRIMARY"), None),
        (("ORIGINAL", "PRIMARY", ""), None),
        (("DERIVED", "PRIMARY"), None),
        (("DERIVED", "PRIMARY", "", "", "", "", "", "", "100000"), None),
        (("DERIVED", "PRIMARY", "LOW_ENERGY"), None),
        (("DERIVED", "SECONDARY"), Reason.OWN_RESULT),
        (("DERIVED", "PRIMARY", "SUBTRACTION"), Reason.OWN_RESULT),
        (("DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"), Reason.TOMOSYNTHESIS),
        (("DERIVED", "PRIMARY", "TOMO_2D"), Reason.TOMOSYNTHESIS),
    ],
)
def test_derived_alone_is_no_obstacle(image_type: tuple[str, ...], reason: Reason | None):
    assert judged(image_type=image_type) is reason


@pytest.mark.parametrize(
    ("modifiers", "reason"),
    [
        (("nipple in profile",), None),
        (("rolled lateral",), None),
        (("anterior compression",), None),
        (("something local",), None),
        (("spot compression",), Reason.MAGNIFICATION),
        (("rolled medial", "magnification"), Reason.MAGNIFICATION),
        (("implant displaced",), Reason.IMPLANT),
        (("axillary tail",), Reason.VIEW_NOT_READ),
        (("cleavage",), Reason.VIEW_NOT_READ),
        (("tangential",), Reason.VIEW_NOT_READ),
    ],
)
def test_modifiers_decide_whether_it_is_still_a_screening_view(
    modifiers: tuple[str, ...], reason: Reason | None
):
    assert judged(view_modifiers=modifiers) is reason


def test_the_site_says_which_views_are_read():
    header = replace(GOOD, view="ML")
    assert judge(header, analyzed_views=VIEWS) is Reason.VIEW_NOT_READ
    assert judge(header, analyzed_views=VIEWS | {"ML"}) is None
