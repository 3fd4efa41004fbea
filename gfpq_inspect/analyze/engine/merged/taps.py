"""Taps while a graph is woven: which tensors they take, and what is asked of them; at the end, their programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Symbol:
    """A tensor of one or more lanes: lanes that compute the same share it.

    Attributes:
        name: In the woven graph.
        shape: In memory, padding included; None where it is not known.
        channels: Without padding where the layout is blocked, else 0.
        floating: Whether it holds float32.
        constant: No sample reaches it.
        reads: How often it is read where it was made.
        tap: The last tap that it went through, and its slot there.
    """

    name: str
    shape: tuple[int, ...] | None = None
    channels: int = 0
    floating: bool = True
    constant: bool = False
    reads: int = 0
    tap: tuple[Tap, int] | None = None


@dataclass
class Read:
    """One reading of a symbol, at the time that it was read.

    Attributes:
        symbol: What.
        tap: The tap that it had gone through by then, and its slot.
        point: The point that it was quantized at, or None.
    """

    symbol: Symbol
    tap: tuple[Tap, int] | None
    point: int | None = None

    @property
    def name(self) -> str:
        """In the woven graph."""
        if self.tap is None:
            return self.symbol.name
        tap, slot = self.tap
        return tap.output_name(slot, self.point)

    @property
    def key(self) -> tuple[str, int | None]:
        """Equal for readings of equal numbers."""
        return self.symbol.name, self.point


@dataclass
class _Quantized:
    slot: int
    point: int
    bits: int
    evidence: bool = False


@dataclass
class Earlier:
    """What a tap does before its own looks: another's looks, and then an operator on single elements.

    Attributes:
        tap: The other, or None.
        places: For each slot of the tap the slot of the other.
        words: The operator, as in a program.
        operands: For each slot what the operator takes besides.
    """

    tap: Tap | None
    places: list[int]
    words: tuple[object, ...]
    operands: list[list[Read | str]]

    def seen_from(self, slots: Sequence[int]) -> Earlier:
        """The same for a tap whose slots are these of the tap that this was made for."""
        return Earlier(
            self.tap, [self.places[slot] for slot in slots], self.words, [self.operands[slot] for slot in slots]
        )


@dataclass
class Tap:
    """One tap.

    Attributes:
        name: Of its node.
        reads: What it looks at.
        channels: See `Symbol`.
        constant: See `Symbol`.
        earlier: What it does before it looks, in order.
        sources: What it takes, where it makes its `reads` of that by itself; else empty.
    """

    name: str
    reads: list[Read]
    channels: int
    constant: bool
    measured: list[tuple[int, list[int], int, int]] = field(default_factory=list)
    magnitudes: list[tuple[int, int]] = field(default_factory=list)
    captures: list[tuple[int, int]] = field(default_factory=list)
    evidence: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    passed: set[int] = field(default_factory=set)
    quantized: dict[tuple[int, int], _Quantized] = field(default_factory=dict)
    earlier: list[Earlier] = field(default_factory=list)
    sources: list[Read] = field(default_factory=list)

    @property
    def taken(self) -> list[Read]:
        """What it takes, by slot."""
        return self.sources or self.reads

    def output_name(self, slot: int, point: int | None) -> str:
        """Name of a continued or quantized tensor."""
        own = self.reads[slot].symbol.name
        return f"{own}/{self.name}" if point is None else f"{own}/{self.name}/q{point}"

    def quantize(self, slot: int, point: int, bits: int, *, evidence: bool) -> None:
        """Ask for a quantized copy."""
        entry = self.quantized.setdefault((slot, point), _Quantized(slot, point, bits))
        entry.evidence = entry.evidence or evidence

    def finished(self, block: int) -> tuple[list[str], list[str], str]:
        """Inputs, outputs and program; inputs are the tensors and then the operands of what it does to them.

        A tensor that is only wanted quantized is overwritten; one that nobody wants does not go on.
        """
        copies: dict[int, list[_Quantized]] = {}
        for entry in self.quantized.values():
            copies.setdefault(entry.slot, []).append(entry)
        going = [slot for slot in range(len(self.reads)) if slot in self.passed or slot in copies]
        ended = [slot for slot in range(len(self.reads)) if slot not in going]
        order = [*going, *ended]
        place = {slot: index for index, slot in enumerate(order)}
        outputs = []
        overwriting, further = [], []
        for slot in going:
            entries = copies.get(slot, [])
            if slot in self.passed:
                outputs.append(self.output_name(slot, None))
                further += entries
            else:
                outputs.append(self.output_name(slot, entries[-1].point))
                overwriting.append(entries[-1])
                further += entries[:-1]
        words: list[object] = [len(order), len(going), self.channels, block if self.channels else 0, int(self.constant)]
        operands: dict[str, int] = {}
        for earlier in self.earlier:
            if earlier.tap is not None:
                words += earlier.tap.looks({theirs: place[slot] for slot, theirs in enumerate(earlier.places)})
            words += ["t", *earlier.words]
            for slot in order:
                for read in earlier.operands[slot]:
                    name = read if isinstance(read, str) else read.name
                    words.append(operands.setdefault(name, len(operands)))
        words += self.looks(place)
        for entry in further:
            words += ["q", place[entry.slot], len(outputs), entry.point, entry.bits, int(entry.evidence)]
            outputs.append(self.output_name(entry.slot, entry.point))
        for entry in overwriting:
            slot = place[entry.slot]
            words += ["q", slot, slot, entry.point, entry.bits, int(entry.evidence)]
        taken = [self.taken[slot].name for slot in order]
        return [*taken, *operands], outputs or [f"{self.name}/end"], " ".join(map(str, words))

    def looks(self, place: Mapping[int, int]) -> list[object]:
        """The looks as words of a program in which the slots have other places."""
        words: list[object] = []
        for reference, lanes, sum_slot, product_slot in self.measured:
            words += ["m", place[reference], len(lanes), *(place[lane] for lane in lanes), sum_slot, product_slot]
        for slot, column in self.magnitudes:
            words += ["g", place[slot], column]
        for slot, capture in self.captures:
            words += ["c", place[slot], capture]
        for letter, slots, numbers in self.evidence:
            words += [letter, *(place[slot] for slot in slots), *numbers]
        return words


@dataclass(frozen=True)
class Target:
    """Where the sums of one measured group go.

    Attributes:
        row: Index of the row.
        columns: Comparisons.
        places: For each of them, its row of sums.
        shares: Index of the model whose error is split, and three places among the products; or None.
    """

    row: int
    columns: Sequence[int]
    places: Sequence[int]
    shares: tuple[int, Sequence[int]] | None


@dataclass
class Results:
    """What the taps of a graph give, and where it goes.

    Attributes:
        sum_slots: Rows of sums.
        product_slots: Products.
        targets: Where they go.
        captures: What is handed out: (row key, lane), shape of one sample, and whether no sample reaches it.
    """

    sum_slots: int = 0
    product_slots: int = 0
    targets: list[Target] = field(default_factory=list)
    captures: list[tuple[tuple[str, str], tuple[int, ...], bool]] = field(default_factory=list)

    def room(self, lanes: int) -> tuple[int, int]:
        """Room for a group; its first row of sums and its first product."""
        first = self.sum_slots, self.product_slots
        self.sum_slots += lanes
        self.product_slots += lanes * lanes
        return first
