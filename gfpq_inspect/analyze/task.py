"""Accuracy of every lane, where the true classes are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.inputs.labels import Labels


class AccuracyMeter:
    """Counts how often the largest value of a network output is the true class.

    Args:
        labels: True classes of all samples.
    """

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._classes = np.array(labels.classes, dtype=np.int64)
        self._right: dict[str, dict[str, int]] = {}
        self._samples = 0

    def add(self, first: int, samples: int, tensors: Mapping[tuple[str, str], NDArray[Any]]) -> None:
        """Add a batch.

        Args:
            first: Index of its first sample.
            samples: Samples in it.
            tensors: (output, lane) to the lane's tensor; outputs with no value for each class are passed over.
        """
        self._samples += samples
        truth = self._classes[first : first + samples]
        for (output, lane), array in tensors.items():
            if array.size % samples or array.size // samples <= max(1, self._classes.max()):
                continue
            found = array.reshape(samples, -1).argmax(axis=1)
            lanes = self._right.setdefault(output, {})
            lanes[lane] = lanes.get(lane, 0) + int(np.count_nonzero(found == truth))

    def result(self) -> dict[str, Any]:
        """Plain values: metric, where the labels come from, samples, and output to lane to share."""
        return {
            "metric": "top-1 accuracy",
            "labels": self._labels.origin,
            "samples": self._samples,
            "outputs": {
                output: {lane: right / self._samples for lane, right in lanes.items()}
                for output, lanes in self._right.items()
            },
        }
