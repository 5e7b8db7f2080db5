"""The `Classifier` on Keras: TensorFlow, JAX or PyTorch, whichever Keras is set to."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray

from cadnode.core.errors import ModelUnfit
from cadnode.core.model import ModelSpec, PatchScores, RunsOn
from cadnode.inference.bundle import Bundle
from cadnode.inference.folded import build_folded

BATCHES = (4, 16)
"""Batch shapes that are compiled; smaller batches are padded to the next one."""


class KerasClassifier:
    """A bundle, loaded and compiled.

    `device` is auto, cpu or gpu; `precision` is auto (float32), float32 or bfloat16 (several times
    faster on a CPU with AMX or a recent GPU, but single scores move by up to 0.15).
    """

    def __init__(self, bundle: Bundle, *, device: str = "auto", precision: str = "auto") -> None:
        self._spec = bundle.spec
        self._device = _device(device)
        bfloat16 = precision == "bfloat16"
        policy = "mixed_bfloat16" if bfloat16 else "float32"
        self._runs_on = RunsOn(_name_of(self._device), "bfloat16" if bfloat16 else "float32")
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            with keras.device(self._device):
                self._model = build_folded(bundle.arrays(), bundle.spec.patch_size)
        except (KeyError, ValueError) as error:
            raise ModelUnfit(f"{bundle.folder}: the weights do not fit: {error}") from error
        finally:
            keras.config.set_dtype_policy(before)
        # XLA on a CPU is slower than none, and takes a minute to compile.
        self._model.compile(jit_compile="cpu" not in self._device)

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def runs_on(self) -> RunsOn:
        """What the model was placed on."""
        return self._runs_on

    def classify(self, patches: NDArray[np.float32]) -> PatchScores:
        """Scores for normalised patches of shape (n, patch_size, patch_size), any n."""
        size, cells = self._spec.patch_size, self._spec.map_size
        if patches.ndim != 3 or patches.shape[1:] != (size, size):
            raise ModelUnfit(
                f"patches of shape {patches.shape}, but the model takes {size} x {size}"
            )
        probability = np.empty(len(patches), np.float32)
        maps = np.empty((len(patches), cells, cells), np.float32)
        for start in range(0, len(patches), BATCHES[-1]):
            part = patches[start : start + BATCHES[-1]]
            answer = self._padded(part)
            stop = start + len(part)
            probability[start:stop] = answer["probability"][: len(part), 0]
            maps[start:stop] = answer["maps"][: len(part), :, :, 0]
        if not np.isfinite(probability).all():
            raise ModelUnfit(
                f"{self._spec.name} {self._spec.version} gave a score that is no number"
            )
        return PatchScores(probability, maps)

    def _padded(self, part: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        shape = next(size for size in BATCHES if size >= len(part))
        filled = np.zeros((shape, *part.shape[1:], 1), np.float32)
        filled[: len(part), :, :, 0] = part
        with keras.device(self._device):
            answer: dict[str, NDArray[np.float32]] = self._model.predict_on_batch(filled)
        return answer


def _device(wanted: str) -> str:
    found = [name.lower() for name in keras.distribution.list_devices()]
    accelerators = [name for name in found if not name.startswith("cpu")]
    if wanted == "gpu" and not accelerators:
        raise ModelUnfit(f"no GPU that Keras' {keras.backend.backend()} backend can use")
    if wanted == "cpu" or not accelerators:
        return "cpu:0"
    return str(accelerators[0])


def _name_of(device: str) -> str:
    """A device as a person knows it; what Keras calls it where its backend does not say more."""
    if device.startswith("cpu"):
        return "CPU"
    if keras.backend.backend() != "tensorflow":
        return device
    import tensorflow as tf

    number = int(device.rpartition(":")[2])
    details = tf.config.experimental.get_device_details(
        tf.config.list_physical_devices("GPU")[number]
    )
    return str(details.get("device_name", device))
