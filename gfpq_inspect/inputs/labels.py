"""True classes of samples: from a file, or from where the samples themselves come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.arrays import StoredArray, check_file

LABEL_NAMES = ("label", "labels")
"""Names of the array or dataset that holds the labels beside the data of an .npz or HDF5 file."""


@dataclass(frozen=True)
class Labels:
    """One true class a sample.

    Attributes:
        classes: Index of the class, one a sample, in the samples' order.
        origin: Where they come from, a few words.
        names: Class names by index where classes were told by name, else ().
        guessed: Nobody said that these are the classes: they are the names of the samples' folders.
    """

    classes: tuple[int, ...]
    origin: str
    names: tuple[str, ...] = ()
    guessed: bool = False

    def first(self, count: int | None) -> Labels:
        """Those of the first samples."""
        return replace(self, classes=self.classes[:count])


def labels_from_texts(texts: Sequence[str | None], origin: str) -> Labels | None:
    """Labels as they stand behind the paths of a list: numbers, or names that are numbered in alphabetical order.

    Returns:
        None where not every sample has one.
    """
    said = [text for text in texts if text is not None]
    if not said or len(said) < len(texts):
        return None
    if all(text.isdecimal() for text in said):
        return Labels(tuple(int(text) for text in said), origin)
    names = tuple(sorted(set(said)))
    return Labels(tuple(names.index(text) for text in said), origin, names)


def labels_from_folders(names: Sequence[str], origin: str) -> Labels | None:
    """Labels from the first folder of each name ('cat/1.jpg'), numbered in alphabetical order.

    Returns:
        None where a file lies outside such folders, or there is only one.
    """
    folders = [name.partition("/")[0] for name in names if "/" in name]
    if len(folders) < len(names) or len(set(folders)) < 2:
        return None
    found = labels_from_texts(folders, f"folder names of {origin}")
    return None if found is None else replace(found, guessed=True)


def labels_beside(arrays: Sequence[StoredArray], count: int, origin: str) -> Labels | None:
    """Labels that a file holds beside the data, in an array named 'label' or 'labels'.

    Returns:
        None where there is no such array of whole numbers, one a sample.
    """
    for array in arrays:
        if array.name in LABEL_NAMES and int(np.prod(array.shape)) == count:
            values = np.asarray(list(array.rows())).reshape(-1)
            if np.array_equal(values, np.round(values)) and values.min() >= 0:
                return Labels(tuple(int(value) for value in values), f"array '{array.name}' of {origin}")
    return None


def read_labels(path: Path, arrays: Sequence[StoredArray] | None, identities: Sequence[str]) -> Labels:
    """Read labels that were given in a file of their own.

    Args:
        path: Text with a class a line in the samples' order, or lines `name label` in any order; or an array of whole
            numbers (.npy, .npz, idx).
        arrays: The arrays of the file if it holds arrays, else None.
        identities: The samples.

    Raises:
        InputError: Unreadable, another count than samples, a sample without a label, or no class.
    """
    check_file(path)
    if arrays is None:
        return _from_text(path, identities)
    array = next((array for array in arrays if array.name in LABEL_NAMES), arrays[0])
    values = np.asarray(list(array.rows())).reshape(-1)
    if not np.array_equal(values, np.round(values)) or (values.size and values.min() < 0):
        raise InputError(f"{path}: holds values that are no classes; labels are whole numbers from 0")
    _check_count(path, len(values), len(identities))
    return Labels(tuple(int(value) for value in values), path.name).first(len(identities))


def _from_text(path: Path, identities: Sequence[str]) -> Labels:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not a readable text file; write one label a line, or 'name label'") from error
    lines = [line for line in lines if line and not line.startswith("#")]
    pairs = [line.rsplit(maxsplit=1) for line in lines]
    if all(len(pair) == 1 for pair in pairs):
        _check_count(path, len(lines), len(identities))
        found = labels_from_texts(lines, path.name)
        assert found is not None
        return found.first(len(identities))
    if not all(len(pair) == 2 for pair in pairs):
        raise InputError(f"{path}: mixes lines of a label with lines of a name and a label; write one kind")
    by_name = {name.replace("\\", "/").removeprefix("./"): label for name, label in pairs}
    texts = [by_name.get(identity, by_name.get(Path(identity).name)) for identity in identities]
    missing = [identity for identity, text in zip(identities, texts, strict=True) if text is None]
    if missing:
        raise InputError(
            f"{path}: has no label for {len(missing)} of {len(identities)} samples (the first is '{missing[0]}'); "
            "write a line 'name label' for each"
        )
    found = labels_from_texts(texts, path.name)
    assert found is not None
    return found


def _check_count(path: Path, labels: int, samples: int) -> None:
    """Labels in order may go on beyond the samples that are used, but must not end before."""
    if labels < samples:
        raise InputError(f"{path}: holds {labels} labels for {samples} samples; give one a sample")
