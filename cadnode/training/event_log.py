"""Event files for TensorBoard, one value per epoch; TensorBoard itself is not needed to write them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path


class EventLog:
    """A folder of event files; a new log takes the place of the one that was there.

    Writes nothing where TensorFlow is not installed (Keras on another backend).
    """

    def __init__(self, folder: Path) -> None:
        self._writer = None
        if find_spec("tensorflow") is None:
            return
        import tensorflow as tf

        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = tf.summary.create_file_writer(str(folder))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to each curve."""
        if self._writer is None:
            return
        import tensorflow as tf

        metadata = tf.compat.v1.SummaryMetadata(
            plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
        )
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.write(name, tf.constant(value, tf.float32), step, metadata)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
