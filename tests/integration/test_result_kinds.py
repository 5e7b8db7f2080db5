"""Which kinds of result object there are, which are made, and what they are called on disk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
from pydicom import dcmread
from typer.testing import CliRunner

from cadnode.app import App
from cadnode.cli import cli
from cadnode.config import Settings
from cadnode.config.tables import DestinationTable
from cadnode.config.values import ResultKind
from cadnode.core.ports import Classifier
from cadnode.offline import analyze_files
from cadnode.result_parts import REPORTS, RESULT_CLASSES
from tests.contract.fake_classifier import FakeClassifier
from tests.objects import add_cluster, breast_phantom, four_views, write
from tests.unit.sr_reports import TWO_CLUSTERS, report_of


class _QuickApp(App):
    """The real parts, but for the model."""

    def classifier(self, note: Callable[[int, float], None] = lambda *_: None) -> Classifier:
        return FakeClassifier()


def _destination(name: str, objects: Sequence[str], **options: Any) -> DestinationTable:
    table = {"name": name, "ae_title": "A", "host": "localhost", "port": 104, **options}
    return DestinationTable.model_validate({**table, "objects": objects})


def test_every_kind_that_may_be_named_has_a_builder_and_a_sop_class(tmp_path: Path) -> None:
    assert tuple(RESULT_CLASSES) == get_args(ResultKind)
    report = report_of(tmp_path, findings=TWO_CLUSTERS)
    built = [result for one in App(Settings()).builders() for result in one.objects(report)]
    assert {result.kind: result.sop_class_uid for result in built} == RESULT_CLASSES


def test_by_default_a_destination_gets_the_reports_and_nothing_else_is_made() -> None:
    table = DestinationTable(name="a", ae_title="A", host="localhost", port=104)
    assert table.objects == REPORTS
    assert App(Settings()).wanted_kinds() == set(REPORTS)


def test_what_an_enabled_destination_wants_is_made_too() -> None:
    settings = Settings(
        destinations=(
            _destination("a", ["gsps"]),
            _destination("b", ["segmentation"], enabled=False),
        )
    )
    assert App(settings).wanted_kinds() == {*REPORTS, "gsps"}


@pytest.mark.parametrize("kinds", [REPORTS, ("gsps", "secondary-capture"), tuple(RESULT_CLASSES)])
def test_analyze_writes_the_kinds_that_are_asked_for_each_object_to_a_file_of_its_own(
    tmp_path: Path, kinds: Collection[str]
) -> None:
    picture = breast_phantom(600, 480, 0.1) * 0.7
    add_cluster(picture, (300.0, 300.0), 0.1, n=12, spread_mm=5, contrast=0.3)
    views = four_views(pictures={"RCC": picture}, rows=600, columns=480, spacing_mm=0.1)
    paths = [write(view, tmp_path / "in" / f"{index}.dcm") for index, view in enumerate(views)]
    out = tmp_path / "out"
    out.mkdir()
    run = analyze_files(_QuickApp(Settings()), paths, out, lambda *_: None, kinds)
    assert not run.failed
    made = [kind for kind, _ in run.results]
    assert set(made) <= set(kinds)
    assert {"secondary-capture": made.count("secondary-capture"), "gsps": made.count("gsps")} == {
        kind: 4 if kind in kinds else 0 for kind in ("secondary-capture", "gsps")
    }
    files = [path for _, path in run.results]
    assert sorted(out.glob("*.dcm")) == sorted(files)
    for kind, path in run.results:
        assert dcmread(path, stop_before_pixels=True).SOPClassUID == RESULT_CLASSES[kind]
        view = path.stem.rpartition(".")[2]
        assert view == kind if kind in REPORTS else view[1:] in {"-RCC", "-LCC", "-RMLO", "-LMLO"}


def test_a_kind_that_there_is_not_is_refused_by_name(tmp_path: Path) -> None:
    asked = ["analyze", str(tmp_path), "--out", str(tmp_path / "out"), "--objects", "gsps,pdf"]
    answer = CliRunner().invoke(cli, asked)
    assert answer.exit_code == 2
    assert "there is no 'pdf'" in answer.output
    assert not (tmp_path / "out").exists()
