"""Caffe's mean images (.binaryproto): one BlobProto in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.arrays import check_file
from gfpq_inspect.models.caffe.blob import read_blob
from gfpq_inspect.models.caffe.wire import WireError


def read_mean_image(path: Path) -> NDArray[np.float32]:
    """Read a mean image.

    Args:
        path: A .binaryproto file.

    Returns:
        The blob in its stored shape, usually [1, C, H, W] in BGR order.

    Raises:
        InputError: Missing, empty, or no BlobProto.
    """
    check_file(path)
    try:
        raw = path.read_bytes()
        blob = read_blob(raw, 0, len(raw))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check its permissions") from error
    except WireError as error:
        raise InputError(f"{path} (byte {error.byte}): is no mean image ({error}); make the file again") from error
    if blob.fault or blob.values.size == 0:
        reason = blob.fault or "it holds no values"
        raise InputError(f"{path}: is no mean image ({reason}); make the file again")
    return blob.values.reshape(blob.shape)
