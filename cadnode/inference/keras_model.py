"""The network in Keras: on TensorFlow, JAX or PyTorch, whichever Keras is set to."""

from __future__ import annotations

import contextlib
import importlib

# The driver of PostgreSQL brings an OpenSSL, and TensorFlow has functions of the same names: loaded
# after TensorFlow, the driver takes those, and its first connection over TLS ends the process.
with contextlib.suppress(ImportError):
    importlib.import_module("psycopg")

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from cadnode.core.errors import ModelUnfit
from cadnode.core.model import FLOAT32, RunsOn
from cadnode.inference.engine import unfit
from cadnode.inference.folded import INPUT, Array, Convolution, Folded
from cadnode.inference.hardware import has_amx

SHAPES = (4, 32)
"""Batches that are compiled where every shape is compiled for itself; others are filled up."""


def _failures() -> tuple[type[Exception], ...]:
    """What the backend raises where a device has no memory left, or lacks a kernel."""
    if keras.backend.backend() != "tensorflow":
        return (RuntimeError, ValueError)
    import tensorflow as tf

    return (RuntimeError, ValueError, tf.errors.OpError)


_FAILURES = _failures()


class KerasEngine:
    """The network, loaded and compiled."""

    def __init__(self, network: Folded, *, device: str, precision: str) -> None:
        """`device` is auto, cpu or gpu; `precision` is float32 or bfloat16."""
        self._device = _device(device)
        self._runs_on = RunsOn(
            _name_of(self._device), precision, f"Keras {keras.version()} on {_backend()}"
        )
        if precision == FLOAT32 and keras.backend.backend() == "tensorflow":
            _no_shorter_float32()
        before = keras.config.dtype_policy()
        # Not mixed_bfloat16: that would convert every weight again for every batch.
        keras.config.set_dtype_policy(precision)
        try:
            with keras.device(self._device):
                self._model = build(network)
        except _FAILURES as error:
            unfit(self._runs_on.runtime, error)
        finally:
            keras.config.set_dtype_policy(before)
        on_cpu = self._device.startswith("cpu")
        # XLA on a CPU is slower than none, and takes a minute to compile.
        self._model.compile(jit_compile=not on_cpu)
        self._any_size = on_cpu and keras.backend.backend() == "tensorflow"

    @property
    def runs_on(self) -> RunsOn:
        return self._runs_on

    @property
    def batch(self) -> int:
        return SHAPES[-1]

    def run(self, patches: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Engine.run`."""
        count = len(patches)
        if not self._any_size:
            shape = next(size for size in SHAPES if size >= count)
            patches = np.concatenate([patches, np.zeros((shape - count, *patches.shape[1:]), "f4")])
        try:
            with keras.device(self._device):
                answer = self._model.predict_on_batch(patches[..., None])
        except _FAILURES as error:
            unfit(self._runs_on.runtime, error)
        return (
            np.asarray(answer["probability"][:count, 0], np.float32),
            np.asarray(answer["maps"][:count, :, :, 0], np.float32),
        )


def build(network: Folded) -> keras.Model:
    """From grey levels (n, patch_size, patch_size, 1) to `probability` (n, 1) and `maps`
    (n, patch_size / 32, patch_size / 32, 1), both 0..1, under the dtype policy in force."""
    size = network.patch_size
    grey = keras.Input((size, size, 1), name=INPUT, dtype=FLOAT32)
    loads: dict[str, list[Array]] = {}
    found = {INPUT: grey}
    for step in network.steps:
        source = found[step.source]
        if isinstance(step, Convolution):
            found[step.name] = _convolve(step, source, found, loads)
        else:
            found[step.name] = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(source))
    last = found[network.steps[-1].name]
    pooled = layers.GlobalAveragePooling2D(dtype=FLOAT32)(last)
    patch = layers.Dense(1, name="patch", dtype=FLOAT32, activation="sigmoid")(pooled)
    cells = layers.Conv2D(1, 1, name="cells", dtype=FLOAT32, activation="sigmoid")(last)
    loads["patch"] = [*network.patch]
    loads["cells"] = [network.cells[0][None, None], network.cells[1]]
    model = keras.Model(grey, {"probability": patch, "maps": cells})
    for name, arrays in loads.items():
        model.get_layer(name).set_weights(arrays)
    return model


def _convolve(
    step: Convolution,
    source: keras.KerasTensor,
    found: dict[str, keras.KerasTensor],
    loads: dict[str, list[Array]],
) -> keras.KerasTensor:
    side, _, _, filters = step.kernel.shape
    same = step.pad > 0 and step.stride == 1
    if step.pad and not same:
        source = layers.ZeroPadding2D(step.pad)(source)
    shared = step.bias.ndim == 1
    x = layers.Conv2D(
        filters,
        side,
        strides=step.stride,
        padding="same" if same else "valid",
        use_bias=shared,
        name=step.name,
    )(source)
    loads[step.name] = [step.kernel, step.bias] if shared else [step.kernel]
    if not shared:
        x = _Offset(name=f"{step.name}_offset")(x)
        loads[f"{step.name}_offset"] = [step.bias]
    if step.add:
        x = layers.Add()([x, found[step.add]])
    return layers.ReLU()(x) if step.relu else x


class _Offset(layers.Layer):  # type: ignore[misc]
    """Adds one constant map."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.offset = self.add_weight(shape=input_shape[1:], name="offset", trainable=False)

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return inputs + keras.ops.cast(self.offset, inputs.dtype)


def bfloat16_pays(device: str) -> bool:
    """True for a CPU with AMX, and for a GPU of compute capability 8 or more."""
    found = _device(device)
    if found.startswith("cpu"):
        return has_amx()
    capability = _details(found).get("compute_capability")
    return not isinstance(capability, tuple) or capability >= (8, 0)


def _no_shorter_float32() -> None:
    """TensorFlow cuts the factors of a float32 product to 10 bits on a GPU that likes them so."""
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)


def has_accelerator() -> bool:
    """True when the backend can use something faster than the CPU."""
    return bool(_accelerators())


def _accelerators() -> list[str]:
    found = [str(name).lower() for name in keras.distribution.list_devices()]
    return [name for name in found if not name.startswith("cpu")]


def _device(wanted: str) -> str:
    accelerators = _accelerators()
    if wanted == "gpu" and not accelerators:
        raise ModelUnfit(f"no GPU that Keras' {keras.backend.backend()} backend can use")
    if wanted == "cpu" or not accelerators:
        return "cpu:0"
    return accelerators[0]


def _backend() -> str:
    name = str(keras.backend.backend())
    return {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}.get(name, name)


def _name_of(device: str) -> str:
    """A device as a person knows it; what Keras calls it where its backend does not say more."""
    return "CPU" if device.startswith("cpu") else str(_details(device).get("device_name", device))


def _details(device: str) -> dict[str, object]:
    if keras.backend.backend() != "tensorflow":
        return {}
    import tensorflow as tf

    number = int(device.rpartition(":")[2])
    found: dict[str, object] = tf.config.experimental.get_device_details(
        tf.config.list_physical_devices("GPU")[number]
    )
    return found
