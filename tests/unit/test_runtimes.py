"""Which runtime a bundle gets, what is said when it gets none, and that none of them talks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from cadnode.app import App
from cadnode.config import Settings
from cadnode.core.errors import ModelUnfit
from cadnode.core.model import BFLOAT16, FLOAT32, INT8, marks_in_float32
from cadnode.core.ports import Classifier
from cadnode.inference import keras_model, runtime
from cadnode.inference.bundle import Bundle, find_bundle
from cadnode.inference.engine import unfit
from cadnode.inference.export import export
from cadnode.inference.folded import fold
from cadnode.inference.hardware import has_amx, int8_pays
from cadnode.inference.keras_model import KerasEngine
from cadnode.inference.onnxruntime_model import OnnxRuntimeEngine
from cadnode.inference.openvino_model import OpenVinoEngine
from cadnode.inference.quantised import STEPS
from cadnode.inference.runtime import load_classifier, onnx_file
from cadnode.inference.screening import Screening
from tests.contract.fake_engine import FakeEngine

MODELS = Path(__file__).parents[2] / "models"

TALKS = """
import socket, sys

def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen"):
        print(event, *arguments[:2])

sys.addaudithook(hook)
from cadnode.inference import {module}
print("loaded", sorted(name for name, module in sys.modules.items() if module and (
    "telemetry" in name.lower() and "opentelemetry" not in name or name == "openvino.tools.ovc")))
"""


@pytest.fixture
def bundle(monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """One whose golden scores are the means of its patches."""
    found = find_bundle(MODELS, "calc-resnet50")
    means = np.array([0.1, 0.9], np.float32)
    patches = np.broadcast_to(means[:, None, None], (2, 224, 224))
    monkeypatch.setattr(type(found), "golden", lambda _self: (patches, means))
    return found


def engines(monkeypatch: pytest.MonkeyPatch, **made: FakeEngine | Exception) -> None:
    """Each runtime gives its engine, or raises; one that is not named is not installed.

    An engine in bfloat16 is off in that only.
    """

    def make(name: str, precision: str) -> FakeEngine:
        engine = made.get(name) or ModuleNotFoundError(name=name)
        if isinstance(engine, Exception):
            raise engine
        return FakeEngine(
            precision, engine.off if engine.precision in (FLOAT32, precision) else 0.0
        )

    monkeypatch.setattr(
        runtime,
        "_ENGINES",
        {
            name: lambda _network, _device, precision, name=name: make(name, precision)
            for name in runtime.ORDER
        },
    )
    monkeypatch.setattr(runtime, "has_gpu", lambda: False)
    monkeypatch.setattr(runtime, "int8_pays", lambda: False)


def with_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU is quick in int8, and the bundle has what that needs."""
    screening = Screening(dict.fromkeys(STEPS, 8.0), 1.6, 300, 20)
    monkeypatch.setattr(Bundle, "screening", lambda _self: screening)
    monkeypatch.setattr(runtime, "int8_pays", lambda: True)


def chosen(classifier: Classifier) -> str:
    return classifier.runs_on.why


def test_the_quickest_is_taken(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    engines(monkeypatch, openvino=FakeEngine(), keras=FakeEngine())
    assert chosen(load_classifier(bundle)) == "the quickest that is installed and agrees"


def test_the_node_runs_what_its_settings_name(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines(monkeypatch, openvino=FakeEngine(), onnxruntime=FakeEngine())
    settings = Settings.model_validate({"model": {"folder": MODELS, "runtime": "onnxruntime"}})
    assert chosen(App(settings).classifier()) == "as set"


def test_what_is_not_installed_is_passed_over(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines(monkeypatch, onnxruntime=FakeEngine())
    assert chosen(load_classifier(bundle)).endswith(
        "openvino passed over: openvino is not installed: pip install 'cadnode[openvino]'; "
        "keras passed over: keras is not installed: pip install 'cadnode[cpu]' or 'cadnode[gpu]'"
    )


def test_what_scores_otherwise_is_passed_over(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines(monkeypatch, openvino=FakeEngine(off=0.5), keras=FakeEngine())
    assert "openvino passed over" in chosen(load_classifier(bundle))
    assert "a golden score is off by" in chosen(load_classifier(bundle))


def test_what_cannot_be_loaded_is_passed_over(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines(monkeypatch, openvino=ModelUnfit("OpenVINO: broken"), keras=FakeEngine())
    assert "openvino passed over: OpenVINO: broken" in chosen(load_classifier(bundle))


def test_what_scores_otherwise_in_bfloat16_only_runs_in_float32(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = FakeEngine(BFLOAT16, off=-4.0)
    engines(monkeypatch, openvino=rounds, keras=rounds)
    monkeypatch.setattr(runtime, "has_amx", lambda: True)
    found = load_classifier(bundle, device="cpu").runs_on
    assert found.precision == FLOAT32
    assert "openvino passed over" in found.why
    assert "keras passed over" in found.why


def test_what_is_installed_and_broken_is_told_with_its_cause(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines(monkeypatch, openvino=ImportError("libtbb.so.12: cannot open shared object file"))
    with pytest.raises(ModelUnfit, match=r"^E401 openvino is installed .* libtbb\.so\.12"):
        load_classifier(bundle, runtime="openvino")


@pytest.mark.parametrize("uses_it", [True, False])
def test_keras_comes_first_only_where_it_can_use_the_gpu(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, *, uses_it: bool
) -> None:
    """A driver is no use to a TensorFlow that was built for the CPU."""
    engines(monkeypatch, openvino=FakeEngine(), keras=ModelUnfit("tried"))
    monkeypatch.setattr(runtime, "has_gpu", lambda: True)
    monkeypatch.setattr(keras_model, "has_accelerator", lambda: uses_it)
    assert ("keras passed over: tried" in chosen(load_classifier(bundle))) == uses_it


def test_a_library_that_breaks_makes_the_model_unfit(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelUnfit, match=r"ONNX Runtime: .*INVALID_PROTOBUF"):
        OnnxRuntimeEngine(b"no model")
    with pytest.raises(ModelUnfit, match=r"OpenVINO in float32: (?!Exception|Check |FrontEnd)"):
        OpenVinoEngine(b"no model", FLOAT32)

    def full(_network: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "no room on the device\nmore")

    monkeypatch.setattr(keras_model, "build", full)
    network = fold(find_bundle(MODELS, "calc-resnet50").arrays(), 224)
    with pytest.raises(ModelUnfit, match=r"Keras .*: .*no room on the device"):
        KerasEngine(network, device="cpu", precision=FLOAT32)


def test_what_openvino_says_of_its_source_is_left_out() -> None:
    said = (
        "Exception from src/inference/src/cpp/core.cpp:117:\n"
        "Check '!found.empty()' failed at src/plugins/intel_cpu/src/node.cpp:345:\n"
        "no primitive for node: pool1\n"
    )
    with pytest.raises(ModelUnfit, match=r"^E401 OpenVINO: no primitive for node: pool1$"):
        unfit("OpenVINO", RuntimeError(said))
    with pytest.raises(ModelUnfit, match=r"^E401 OpenVINO: RuntimeError$"):
        unfit("OpenVINO", RuntimeError())


def test_one_that_breaks_at_work_makes_the_model_unfit() -> None:
    engine = OnnxRuntimeEngine(onnx_file(find_bundle(MODELS, "calc-resnet50")))
    with pytest.raises(ModelUnfit, match=r"ONNX Runtime: .*Got invalid dimensions"):
        engine.run(np.zeros((1, 100, 100), np.float32))


def test_with_no_runtime_at_all_each_is_named(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines(monkeypatch)
    with pytest.raises(ModelUnfit, match=r"cadnode\[openvino\].*cadnode\[cpu\].*cadnode\[onnx\]"):
        load_classifier(bundle)


def test_one_that_is_named_is_taken_or_refused(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines(monkeypatch, openvino=FakeEngine())
    assert chosen(load_classifier(bundle, runtime="openvino")) == "as set"
    with pytest.raises(ModelUnfit, match=r"pip install 'cadnode\[onnx\]'"):
        load_classifier(bundle, runtime="onnxruntime")
    with pytest.raises(ModelUnfit, match="on a GPU the runtime is keras"):
        load_classifier(bundle, runtime="openvino", device="gpu")


@pytest.mark.parametrize(
    ("amx", "precision", "computed"),
    [
        (True, "auto", marks_in_float32(BFLOAT16)),
        (False, "auto", FLOAT32),
        (True, "float32", FLOAT32),
        (False, "bfloat16", BFLOAT16),
    ],
)
def test_both_precisions_are_used_where_bfloat16_pays(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, *, amx: bool, precision: str, computed: str
) -> None:
    engines(monkeypatch, openvino=FakeEngine())
    monkeypatch.setattr(runtime, "has_amx", lambda: amx)
    assert load_classifier(bundle, precision=precision).runs_on.precision == computed


def test_amx_is_read_from_the_flags_of_the_cpu(tmp_path: Path) -> None:
    cpu = tmp_path / "cpuinfo"
    assert not has_amx(cpu)
    cpu.write_text("model name\t: amx_bf16\nflags\t\t: fpu avx512_bf16\n")
    assert not has_amx(cpu)
    cpu.write_text("model name\t: some CPU\nflags\t\t: fpu amx_bf16 amx_tile\n")
    assert has_amx(cpu)


@pytest.mark.parametrize("amx", [True, False])
def test_int8_comes_first_where_the_cpu_and_the_bundle_have_it(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, *, amx: bool
) -> None:
    engines(monkeypatch, openvino=FakeEngine(), keras=FakeEngine())
    monkeypatch.setattr(runtime, "has_amx", lambda: amx)
    with_ranges(monkeypatch)
    for name in ("auto", "openvino"):
        on = load_classifier(bundle, runtime=name).runs_on
        assert on.precision == marks_in_float32(INT8)
    assert load_classifier(bundle, precision="float32").runs_on.precision == FLOAT32
    in_keras = load_classifier(bundle, runtime="keras", device="cpu").runs_on
    assert in_keras.precision == (marks_in_float32(BFLOAT16) if amx else FLOAT32)


def test_without_ranges_there_is_no_int8(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    engines(monkeypatch, openvino=FakeEngine())
    with_ranges(monkeypatch)
    monkeypatch.setattr(runtime, "has_amx", lambda: False)
    monkeypatch.setattr(Bundle, "screening", lambda _self: None)
    assert load_classifier(bundle).runs_on.precision == FLOAT32
    with pytest.raises(ModelUnfit, match="no ranges for int8"):
        onnx_file(bundle, in_int8=True)


@pytest.mark.parametrize(
    ("amx", "next_one"), [(True, marks_in_float32(BFLOAT16)), (False, FLOAT32)]
)
def test_what_scores_otherwise_in_int8_only_runs_as_without_it(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, *, amx: bool, next_one: str
) -> None:
    engines(monkeypatch, openvino=FakeEngine(INT8, off=-4.0), keras=FakeEngine())
    with_ranges(monkeypatch)
    monkeypatch.setattr(runtime, "has_amx", lambda: amx)
    found = load_classifier(bundle, device="cpu").runs_on
    assert found.precision == next_one
    assert "openvino passed over: " in found.why
    assert "keras" not in found.why


@pytest.mark.parametrize(
    ("flags", "pays"),
    [
        ("fpu avx512_vnni", True),
        ("fpu avx_vnni", True),
        ("fpu avx512f avx2", False),
        ("amx_bf16 amx_tile avx512_vnni", False),
        ("amx_bf16 amx_int8 amx_tile avx512_vnni", True),
    ],
)
def test_int8_is_read_from_the_flags_of_the_cpu(tmp_path: Path, flags: str, *, pays: bool) -> None:
    cpu = tmp_path / "cpuinfo"
    assert not int8_pays(cpu)
    cpu.write_text(f"model name\t: avx_vnni\nflags\t\t: {flags}\n")
    assert int8_pays(cpu) == pays


@pytest.mark.parametrize("module", ["openvino_model", "onnxruntime_model", "onnx_graph"])
def test_no_runtime_reports_to_its_maker(module: str) -> None:
    """What OpenVINO installs for reporting its use is not even loaded."""
    done = subprocess.run(
        [sys.executable, "-c", TALKS.format(module=module)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "loaded []\n", done.stdout + done.stderr


def test_an_exported_model_is_read_alike_by_every_runtime(tmp_path: Path) -> None:
    out = tmp_path / "calc.onnx"
    found = export(find_bundle(MODELS, "calc-resnet50"), out)
    assert [one.runtime.split()[0] for one in found] == ["OpenVINO", "ONNX"]
    assert max(max(one.probability, one.maps) for one in found) < 1e-5
    assert b"not a medical device" in out.read_bytes()
    assert list(tmp_path.iterdir()) == [out]


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelUnfit, match="No such file"):
        export(find_bundle(MODELS, "calc-resnet50"), tmp_path / "none" / "calc.onnx")


def test_an_export_that_is_read_otherwise_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cadnode.inference.export._openvino", lambda _content: FakeEngine())
    with pytest.raises(ModelUnfit, match="does not agree with Keras"):
        export(find_bundle(MODELS, "calc-resnet50"), tmp_path / "calc.onnx")
    assert list(tmp_path.iterdir()) == []
