"""What the node is installed with: licences that may be, and answers that are answers."""

from __future__ import annotations

import re

import pytest

from tools.licences import PAGE, accepted, installed_packages, page
from tools.vulnerabilities import Answer, read_report


def test_every_licence_is_one_that_somebody_has_accepted():
    packages = installed_packages()
    assert {p.name for p in packages} > {"pydicom", "pynetdicom", "keras", "numpy", "pytest"}
    assert [p for p in packages if not accepted(p.licence)] == []


def test_the_page_lists_what_is_installed():
    installed = installed_packages()
    rows = set(re.findall(r"^\| .* \| .* \| .* \|$", page(installed), re.MULTILINE))
    listed = set(PAGE.read_text().splitlines())
    assert sorted(rows - listed) == [], "run `make licences`"


@pytest.mark.parametrize(
    ("expression", "good"),
    [
        ("MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR GPL-2.0-only) AND BSD-3-Clause", True),
        ("(MIT AND AGPL-3.0-only) OR GPL-2.0-only", False),
        ("GPL-3.0-or-later", False),
        ("unknown", False),
        ("", False),
        ("MIT WITH something", False),
        ("LicenseRef-Proprietary", False),
    ],
)
def test_an_expression_is_accepted_when_it_can_be_met_without_copyleft_or_the_unknown(
    expression, good
):
    assert accepted(expression) is good


def test_a_service_that_knows_no_package_has_not_been_asked():
    report = {"dependencies": [{"name": "a", "skip_reason": "not found"}]}
    assert read_report(report) == Answer(0, 1, ())


def test_a_vulnerability_is_named_with_what_mends_it():
    found = {"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": [], "description": ""}
    report = {"dependencies": [{"name": "a", "version": "1.0", "vulns": [found]}]}
    assert read_report(report) == Answer(1, 0, ("a 1.0: PYSEC-1 (mended in 1.1)",))
