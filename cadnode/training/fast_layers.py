"""Convolution, BatchNorm and Adam in fewer passes over memory; the same functions.

On TensorFlow these use its fused kernels, which Keras leaves aside; other backends take Keras' own
operations. The layers hold the variables of the layers they stand for, no copies.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

TENSORFLOW = keras.backend.backend() == "tensorflow"
if TENSORFLOW:
    import tensorflow as tf


class SharedConvolution(keras.layers.Layer):  # type: ignore[misc]
    """The convolution of `source` without its bias, which the BatchNorm behind it takes away."""

    def __init__(self, source: keras.layers.Conv2D, stride: int, **more: Any) -> None:
        super().__init__(**more)
        self.kernel = source.kernel
        self._stride = stride
        # Keras' ResNet pads the first convolution by itself.
        self._padding = "valid" if source.name == "conv1_conv" else "same"
        self.built = True

    def call(self, inputs: Any) -> Any:
        kernel = ops.cast(self.kernel, inputs.dtype)
        return ops.conv(inputs, kernel, self._stride, self._padding, data_format="channels_last")


class SharedNorm(keras.layers.Layer):  # type: ignore[misc]
    """The BatchNorm `source` behind a convolution whose bias was left out.

    In training it normalises by the batch, where that bias has no effect, and moves the same
    averages as Keras would. Statistics are in float32 whatever the inputs are.
    """

    def __init__(
        self, source: keras.layers.BatchNormalization, convolution: keras.layers.Conv2D, **more: Any
    ) -> None:
        super().__init__(autocast=False, **more)
        self.gamma, self.beta = source.gamma, source.beta
        self.moving_mean, self.moving_variance = source.moving_mean, source.moving_variance
        self._bias = convolution.bias
        self._momentum, self._epsilon = source.momentum, source.epsilon
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        bias = ops.convert_to_tensor(self._bias)
        if not training:
            mean = ops.convert_to_tensor(self.moving_mean) - bias
            return self._normalise(inputs, mean, ops.convert_to_tensor(self.moving_variance))
        normalised, mean, variance = self._by_batch(inputs)
        for average, value in (
            (self.moving_mean, mean + bias),
            (self.moving_variance, variance),
        ):
            average.assign(average * self._momentum + value * (1.0 - self._momentum))
        return normalised

    def _normalise(self, inputs: Any, mean: Any, variance: Any) -> Any:
        if TENSORFLOW:
            return tf.raw_ops.FusedBatchNormV3(
                x=inputs,
                scale=ops.convert_to_tensor(self.gamma),
                offset=ops.convert_to_tensor(self.beta),
                mean=mean,
                variance=variance,
                epsilon=self._epsilon,
                is_training=False,
            ).y
        wide = ops.cast(inputs, "float32")
        found = ops.batch_normalization(
            wide, mean, variance, -1, self.beta, self.gamma, self._epsilon
        )
        return ops.cast(found, inputs.dtype)

    def _by_batch(self, inputs: Any) -> tuple[Any, Any, Any]:
        if not TENSORFLOW:
            mean, variance = ops.moments(ops.cast(inputs, "float32"), axes=(0, 1, 2))
            return self._normalise(inputs, mean, variance), mean, variance
        none = tf.zeros((0,), tf.float32)
        found = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=ops.convert_to_tensor(self.gamma),
            offset=ops.convert_to_tensor(self.beta),
            mean=none,
            variance=none,
            epsilon=self._epsilon,
            is_training=True,
        )
        # The kernel divides by n - 1, Keras by n.
        count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
        return found.y, found.batch_mean, found.batch_variance * ((count - 1) / count)


class Adam(keras.optimizers.Adam):  # type: ignore[misc]
    """Keras' Adam; on TensorFlow each variable in one pass."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if not TENSORFLOW:
            super().update_step(gradient, variable, learning_rate)
            return
        step = ops.cast(self.iterations + 1, "float32")
        index = self._get_variable_index(variable)
        own = variable if isinstance(variable, tf.Variable) else variable.value
        tf.raw_ops.ResourceApplyAdam(
            var=own.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=ops.power(ops.cast(self.beta_1, "float32"), step),
            beta2_power=ops.power(ops.cast(self.beta_2, "float32"), step),
            lr=ops.cast(learning_rate, "float32"),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )
