"""Picks the runtime that loads a bundle; importing this imports no framework."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cadnode.core.errors import ModelUnfit
from cadnode.inference.bundle import Bundle

if TYPE_CHECKING:
    from cadnode.core.ports import Classifier


def load_classifier(bundle: Bundle, *, device: str = "auto", precision: str = "auto") -> Classifier:
    """The bundle as a `Classifier`. Takes seconds. Raises ModelUnfit, also where Keras or its
    backend is not installed."""
    try:
        with _quiet():
            from cadnode.inference.keras_model import KerasClassifier

            return KerasClassifier(bundle, device=device, precision=precision)
    except ImportError as error:
        raise ModelUnfit(
            f"{error.name or error} is not installed: pip install 'cadnode[cpu]' or 'cadnode[gpu]'"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TensorFlow's C++ part writes to the standard error stream before it can be told not to."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)
