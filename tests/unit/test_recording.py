"""What processes count: it survives them, adds up, and never stands in the way."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cadnode.core import metrics as m
from cadnode.metrics.exposition import Reading, page, totals
from cadnode.metrics.recording import MOST_SERIES, Recording
from cadnode.metrics.slots import files, forget, running
from cadnode.metrics.values import ValueFile, read_values

COUNT_AND_HANG = """
import sys, time
from pathlib import Path
from cadnode.core import metrics as m
from cadnode.metrics.recording import Recording
found = Recording(Path(sys.argv[1]), "receive")
for _ in range(1000):
    found.add(m.IMAGES_RECEIVED, "MG1", "new")
found.set(m.ASSOCIATIONS_OPEN, 3)
found.observe(m.RECEIVE_DURATION, 0.02)
print("counted", flush=True)
time.sleep(60)
"""


def text(folder: Path, accept: str = "") -> str:
    return page(folder, (), m.AT_SCRAPE, accept).content.decode()


class TestFile:
    def test_numbers_outlive_who_wrote_them(self, tmp_path: Path):
        file = tmp_path / "a.values"
        first = ValueFile(file)
        first.series("one", 1)[0] = 4.5
        first.write("one")
        first.series("much longer name ✓", 3)[2] = 7
        first.write("much longer name ✓")
        first.close()
        again = ValueFile(file)
        assert again.series("one", 1)[0] == 4.5
        assert list(again.series("much longer name ✓", 3)) == [0, 0, 7]

    @pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"cadnode metrics 1\n", b"else" * 50])
    def test_a_file_nobody_can_read_begins_anew(self, tmp_path: Path, content: bytes):
        file = tmp_path / "a.values"
        file.write_bytes(content)
        assert list(read_values(file)) == []
        found = ValueFile(file)
        found.series("one", 1)[0] = 1
        found.write("one")
        assert dict(read_values(file))["one"][0] == 1

    def test_every_file_that_was_cut_off_is_read_up_to_there(self, tmp_path: Path):
        file, cut = tmp_path / "a.values", tmp_path / "b.values"
        found = ValueFile(file)
        for number in range(5):
            found.series(f"series {number}", number + 1)[0] = number
            found.write(f"series {number}")
        whole = file.read_bytes()
        counts = set()
        for size in range(len(whole) + 1):
            cut.write_bytes(whole[:size])
            read = dict(read_values(cut))
            assert all(values[0] == int(name[-1]) for name, values in read.items())
            counts.add(len(read))
        assert counts == {0, 1, 2, 3, 4, 5}

    def test_a_full_disk_costs_numbers_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        file = tmp_path / "a.values"
        found = ValueFile(file)
        found.series("before", 1)[0] = 1
        found.write("before")
        really = os.pwrite

        def full(*_arguments: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "pwrite", full)
        found.series("during", 1)[0] = 2
        found.write("during")
        found.series("before", 1)[0] = 3
        found.write("before")
        monkeypatch.setattr(os, "pwrite", really)
        assert dict(read_values(file)).keys() == {"before"}
        found.series("after", 1)[0] = 4
        found.write("after")
        for name in ("during", "before"):
            found.write(name)
        assert {name: values[0] for name, values in read_values(file)} == {
            "before": 3,
            "during": 2,
            "after": 4,
        }

    def test_a_file_begun_on_a_full_disk_is_whole_as_soon_as_there_is_room(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        file = tmp_path / "a.values"
        before = ValueFile(file)
        before.series("before", 1)[0] = 1
        before.write("before")
        before.close()
        really = os.pwrite

        def full(*_arguments: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "pwrite", full)
        found = ValueFile(file)
        found.series("during", 1)[0] = 2
        found.write("during")
        monkeypatch.setattr(os, "pwrite", really)
        found.series("after", 1)[0] = 3
        found.write("after")
        assert {name: values[0] for name, values in read_values(file)} == {
            "before": 1,
            "during": 2,
            "after": 3,
        }


class TestProcesses:
    def test_what_a_killed_process_counted_stays_and_what_it_held_does_not(self, tmp_path: Path):
        process = subprocess.Popen(
            [sys.executable, "-c", COUNT_AND_HANG, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"counted\n"
        assert "cadnode_associations_open 3.0" in text(tmp_path)
        assert running(tmp_path) == {"receive": {process.pid}}
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert running(tmp_path) == {"receive": frozenset()}
        shown = text(tmp_path)
        assert 'cadnode_images_received_total{outcome="new",sender="MG1"} 1000.0' in shown
        assert "cadnode_receive_duration_seconds_count 1.0" in shown
        assert "cadnode_associations_open 0.0" in shown

    def test_two_who_look_at_once_take_no_dead_process_for_a_living_one(self, tmp_path: Path):
        dead = Recording(tmp_path, "receive")
        dead.set(m.ASSOCIATIONS_OPEN, 3)
        dead.close()
        # The first one is in the middle of its look while the second one looks.
        one = files(tmp_path)
        assert [alive for _, alive in itertools.islice(one, 1)] == [False]
        assert running(tmp_path) == {"receive": frozenset()}
        assert "cadnode_associations_open 0.0" in text(tmp_path)

    def test_the_next_process_goes_on_where_the_dead_one_ended_and_files_do_not_pile_up(
        self, tmp_path: Path
    ):
        for _ in range(5):
            found = Recording(tmp_path, "work")
            found.add(m.PATCHES, by=10)
            found.close()
        assert [path.name for path in tmp_path.glob("*.values")] == ["work.0.values"]
        assert "cadnode_patches_total 50.0" in text(tmp_path)

    def test_the_next_process_goes_on_with_counts_and_not_with_what_was_so(self, tmp_path: Path):
        found = Recording(tmp_path, "work")
        found.set(m.ASSOCIATIONS_OPEN, 3)
        found.set(m.MODEL_INFO, 1, "calc", "1.0")
        found.add(m.PATCHES, by=3)
        found.close()
        again = Recording(tmp_path, "work")
        again.set(m.MODEL_INFO, 1, "calc", "2.0")
        shown = text(tmp_path)
        assert "cadnode_patches_total 3.0" in shown
        assert "cadnode_associations_open 0.0" in shown
        assert 'version="2.0"' in shown
        assert 'version="1.0"' not in shown

    def test_two_of_one_name_count_apart_and_add_up(self, tmp_path: Path):
        first, second = Recording(tmp_path, "work"), Recording(tmp_path, "work")
        for found in (first, second):
            found.add(m.PATCHES, by=3)
            found.observe(m.DECODE_DURATION, 0.3)
            found.set(m.MODEL_INFO, 1, "calc", "1.0")
            found.set(m.ASSOCIATIONS_OPEN, 2)
        shown = text(tmp_path)
        assert "cadnode_patches_total 6.0" in shown
        assert 'cadnode_decode_duration_seconds_bucket{le="0.25"} 0.0' in shown
        assert 'cadnode_decode_duration_seconds_bucket{le="0.5"} 2.0' in shown
        assert "cadnode_decode_duration_seconds_sum 0.6" in shown
        assert "cadnode_associations_open 4.0" in shown
        assert 'cadnode_model_info{name="calc",version="1.0"} 1.0' in shown

    def test_a_start_counts_from_zero_but_does_not_touch_who_runs(self, tmp_path: Path):
        alive, dead = Recording(tmp_path, "receive"), Recording(tmp_path, "work")
        alive.add(m.ASSOCIATIONS_REFUSED, "limit")
        dead.add(m.PATCHES, by=3)
        dead.close()
        forget(tmp_path)
        shown = text(tmp_path)
        assert 'cadnode_associations_refused_total{reason="limit"} 1.0' in shown
        assert "cadnode_patches_total 0.0" in shown

    def test_threads_lose_no_count(self, tmp_path: Path):
        found = Recording(tmp_path, "receive")

        def count() -> None:
            for _ in range(500):
                found.add(m.PATCHES)
                found.observe(m.RECEIVE_DURATION, 0.1)

        threads = [threading.Thread(target=count) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert totals(tmp_path)["cadnode_patches_total"] == {(): [4000.0]}
        assert "cadnode_receive_duration_seconds_count 4000.0" in text(tmp_path)


class TestLabels:
    def test_whatever_somebody_sends_there_is_a_limit_to_the_series(self, tmp_path: Path):
        found = Recording(tmp_path, "receive")
        for number in range(3 * MOST_SERIES):
            found.add(m.IMAGES_RECEIVED, f"AE{number}", "new")
        series = totals(tmp_path)["cadnode_images_received_total"]
        assert len(series) == MOST_SERIES + 1
        assert series["other", "other"] == [2.0 * MOST_SERIES]

    def test_wrong_labels_are_a_fault_of_ours_that_a_test_finds(self, tmp_path: Path):
        with pytest.raises(ValueError, match="has the labels"):
            Recording(tmp_path, "receive").add(m.IMAGES_RECEIVED, "MG1")


class TestPage:
    def test_what_has_not_happened_yet_is_zero_or_named(self, tmp_path: Path):
        shown = text(tmp_path)
        for metric in (*m.RECORDED, *m.AT_SCRAPE):
            family = metric.name
            assert f"# TYPE {family} " in shown
            assert f"# HELP {family} " in shown
        assert "cadnode_patches_total 0.0" in shown

    def test_a_boundary_belongs_to_its_bucket(self, tmp_path: Path):
        found = Recording(tmp_path, "receive")
        for seconds in (0.001, 0.0011, 10.0, 10.1):
            found.observe(m.RECEIVE_DURATION, seconds)
        shown = text(tmp_path)
        for bound, count in (("0.001", 1), ("0.0025", 2), ("10.0", 3), ("+Inf", 4)):
            assert f'cadnode_receive_duration_seconds_bucket{{le="{bound}"}} {count}.0' in shown

    def test_labels_with_quotes_and_lines_in_them_are_escaped(self, tmp_path: Path):
        reading = Reading(m.DESTINATION_UP, 1, ('a"b\\c\nd',))
        shown = page(tmp_path, [reading], m.AT_SCRAPE, "").content.decode()
        assert 'cadnode_destination_up{destination="a\\"b\\\\c\\nd"} 1.0' in shown

    def test_openmetrics_is_given_to_whoever_asks_for_it(self, tmp_path: Path):
        found = page(tmp_path, (), m.AT_SCRAPE, "application/openmetrics-text; version=1.0.0")
        assert found.content_type.startswith("application/openmetrics-text")
        assert found.content.endswith(b"# EOF\n")
        assert b"# TYPE cadnode_patches counter" in found.content


def test_the_receiver_does_not_load_what_only_the_scrape_needs():
    code = (
        "import sys; import cadnode.metrics.recording, cadnode.metrics.ports, cadnode.metrics.slots;"
        "sys.exit(any(n in sys.modules for n in ('prometheus_client', 'fastapi', 'pynetdicom')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
