"""Which processes `cadnode serve` runs with which settings."""

from __future__ import annotations

import os

import pytest

from cadnode.app import App
from cadnode.children import celery_programs, programs
from cadnode.config import Settings, load_settings
from cadnode.core.errors import ConfigError


def settings_of(**work: object) -> Settings:
    return Settings.model_validate({"work": work, "web": {"enabled": False}})


def commands(settings: Settings) -> list[tuple[str, str]]:
    """(name, words after `cadnode`) of every worker."""
    return [
        (program.name, " ".join(program.command[3:]))
        for program in programs(settings, None)
        if program.kind == "work"
    ]


def test_a_node_has_one_worker_unless_it_is_told_otherwise():
    assert [p.name for p in programs(Settings(), None)] == ["receive", "work", "web"]
    assert commands(settings_of()) == [("work", "work")]


def test_each_of_several_workers_has_a_name_of_its_own():
    assert [name for name, _ in commands(settings_of(processes=3))] == ["work", "work 2", "work 3"]


def test_a_worker_is_told_its_device():
    assert commands(settings_of(devices=["0", "1", "cpu"])) == [
        ("work", "work --device 0"),
        ("work 2", "work --device 1"),
        ("work 3", "work --device cpu"),
    ]


@pytest.mark.parametrize(("device", "seen"), [("1", "1"), ("cpu", "-1")])
def test_a_worker_sees_its_own_device_only_as_nvidia_smi_numbers_it(monkeypatch, device, seen):
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "TF_FORCE_GPU_ALLOW_GROWTH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    App(Settings()).use_device(device)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"


def test_every_process_reads_the_same_file(tmp_path):
    file = tmp_path / "cadnode.toml"
    for program in programs(Settings(), file):
        assert list(program.command[-2:]) == ["--config", str(file)]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('devices = ["gpu 0"]', "number of a GPU"),
        ('processes = 2\ndevices = ["0"]', "one of the two"),
        ("processes = 0", "processes"),
    ],
)
def test_workers_that_cannot_be_started_are_refused_with_the_settings(tmp_path, lines, said):
    file = tmp_path / "cadnode.toml"
    file.write_text(f"[work]\n{lines}\n")
    with pytest.raises(ConfigError, match=said):
        load_settings(file, {})


@pytest.mark.parametrize(
    ("lane", "concurrency", "lanes"),
    [
        ("analysis", 1, ["analysis"]),
        ("delivery", 3, ["delivery"]),
        ("all", 1, ["delivery", "analysis"]),
        ("all", 2, ["delivery", "analysis", "analysis"]),
    ],
)
def test_a_celery_worker_is_a_process_for_each_message_at_a_time(
    tmp_path, lane, concurrency, lanes
):
    file = tmp_path / "cadnode.toml"
    found = [
        " ".join(program.command[3:]) for program in celery_programs(lane, "1", concurrency, file)
    ]
    device = {"analysis": " --device 1", "delivery": ""}
    assert found == [f"celery-worker --lane {one}{device[one]} --config {file}" for one in lanes]
