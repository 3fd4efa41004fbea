"""A dump: tensors by name, one of each a sample, as their files give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from gfpq_inspect.inputs.dumps.names import Encoding, FileName, Role


@dataclass(frozen=True)
class StoredTensor:
    """What one file (or one array of an .npz) gave for one sample.

    Attributes:
        where: File, and the array in it, for messages.
        values: float32 as read (uint8 or uint16 for codes), in the file's shape: flat for text; None where there is a
            problem.
        problem: Why it could not be read, one sentence that names the file and what to do; else empty.
    """

    where: str
    values: NDArray[Any] | None
    problem: str = ""


@dataclass(frozen=True)
class DumpTensor:
    """One tensor of a dump, in all its samples.

    Attributes:
        name: As the files call it, untrusted text: layer, and output or input where they say so.
        file_name: What the names of its files say.
        stored: One a sample, in the dump's order; None for a sample that lacks it.
        code_bits: 8 or 16 where the dump holds its GFPQ codes too, from their number of digits.
    """

    name: str
    file_name: FileName
    stored: tuple[StoredTensor | None, ...]
    code_bits: int | None = None

    @property
    def layer(self) -> str:
        """Layer or blob as the files call it."""
        return self.file_name.layer

    @property
    def is_output(self) -> bool:
        """Whether it is what a layer made."""
        return self.file_name.role is Role.OUTPUT

    @property
    def encoding(self) -> Encoding:
        """How its values were written."""
        return self.file_name.encoding

    @property
    def problem(self) -> str:
        """Why it cannot be used, or empty."""
        for index, one in enumerate(self.stored):
            if one is None:
                return f"only {sum(entry is not None for entry in self.stored)} of {len(self.stored)} samples have it"
            if one.problem:
                return one.problem
            if index and one.values is not None and self.stored[0] is not None:
                first = self.stored[0].values
                if first is not None and first.size != one.values.size:
                    return (
                        f"{one.where} holds {one.values.size} values, {self.stored[0].where} {first.size}; "
                        "dump both samples alike"
                    )
        return ""

    @property
    def where(self) -> str:
        """Its first file."""
        return next((one.where for one in self.stored if one is not None), self.name)


@dataclass(frozen=True)
class Dump:
    """All that was found.

    Attributes:
        path: As the user gave it.
        name: For people: the folder's or file's own name.
        tensors: In natural order of their names.
        samples: One name a sample: sub-folder or file; empty text where the dump names none.
        tools: Whose naming the files follow, most files first.
        other_files: Files that are no tensors, base names.
        sha256: Hashes of what was read: base name (or a folder's path below the dump) to SHA-256.
        notes: Readings that a person should know of, each one sentence.
    """

    path: str
    name: str
    tensors: tuple[DumpTensor, ...]
    samples: tuple[str, ...]
    tools: tuple[str, ...]
    other_files: tuple[str, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def sample_count(self) -> int:
        """Samples that its folders or files count; a tensor may hold more along its first axis."""
        return len(self.samples)
