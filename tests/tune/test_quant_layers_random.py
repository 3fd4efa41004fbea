"""Networks of random shape and formatting: Quant layers go in, the network stays legal, and they come out again."""

from __future__ import annotations

import random

import pytest

from gfpq_inspect.models.caffe.connect import connect
from gfpq_inspect.models.caffe.definition import NetState, define_layers
from gfpq_inspect.models.caffe.problems import Problems
from gfpq_inspect.models.caffe.text import parse_text
from gfpq_inspect.models.caffe.upgrade import upgrade
from gfpq_inspect.tune.quant_layers import insert_quant_layers, strip_quant_layers

PHASES = ("TRAIN", "TEST")
OTHER = {"TRAIN": "TEST", "TEST": "TRAIN"}
TYPES = ("Convolution", "InnerProduct", "Pooling", "ReLU", "Eltwise", "Dropout", "Softmax")


class Writer:
    """Draws a legal network and writes it as carelessly as the grammar allows."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.live = {phase: ["data"] for phase in PHASES}
        self.read: dict[str, set[str]] = {phase: set() for phase in PHASES}

    def pick(self, *choices: str) -> str:
        return self.random.choice(choices)

    def blank(self) -> str:
        return self.pick(" ", "\n", "  ", "\t", "\n\n", "\r\n", ' # c }{ "\n')

    def string(self, text: str) -> str:
        mark = self.pick('"', "'")
        if self.random.random() < 0.1 and len(text) > 1:
            return f"{mark}{text[:1]}{mark} {mark}{text[1:]}{mark}"
        return mark + text + mark

    def field(self, name: str, value: str) -> str:
        return f"{name}{self.pick(': ', ':', ' : ')}{value}{self.pick('', ',', ';', '')}{self.blank()}"

    def layer(self, name: str, kind: str, bottoms: list[str], tops: list[str], rule: str = "") -> str:
        fields = [self.field("name", self.string(name)), self.field("type", self.string(kind))]
        self.random.shuffle(fields)
        if len(bottoms) > 1 and self.random.random() < 0.2:
            fields.append(self.field("bottom", f"[{', '.join(self.string(blob) for blob in bottoms)}]"))
        else:
            fields += [self.field("bottom", self.string(blob)) for blob in bottoms]
        fields += [self.field("top", self.string(blob)) for blob in tops]
        opening, closing = self.random.choice(["{}", "<>"])
        end = self.pick("\n", "\n\n", " ", "\n# x\n", "\r\n")
        return f"layer{self.pick(' ', '', ': ')}{opening}{self.blank()}{''.join(fields)}{rule}{closing}{end}"

    def network(self) -> str:
        parts = [self.layer("data", "Data", [], ["data", "label"])]
        parts += [self.next_layer(number) for number in range(self.random.randint(1, 12))]
        return "".join(parts)

    def next_layer(self, number: int) -> str:
        phase = self.random.choice([None, None, None, *PHASES])
        phases = PHASES if phase is None else (phase,)
        known = [blob for blob in self.live[phases[0]] if all(blob in self.live[one] for one in phases)]
        blob, kind = self.random.choice(known), self.pick(*TYPES)
        rule = ""
        if phase is not None:
            rule = self.pick(f"include {{ phase: {phase} }} ", f"exclude {{ phase: {OTHER[phase]} }} ")
        unread = blob != "data" and not any(blob in self.read[one] for one in phases)
        if kind in ("ReLU", "Dropout") and phase is None and unread and self.random.random() < 0.6:
            return self.layer(f"l{number}", kind, [blob], [blob])
        bottoms = [blob, self.random.choice(known)] if kind == "Eltwise" else [blob]
        top = self.pick(f"b{number}", f"b {number}", f"b{number}_hp")
        for one in phases:
            self.read[one].update(bottoms)
            self.live[one].append(top)
        return self.layer(f"l{number}{self.pick('', '', '_hp', '_cpu')}", kind, bottoms, [top], rule)


def check(content: bytes) -> None:
    for phase in PHASES:
        problems = Problems()
        layers, _ = upgrade(parse_text(content, "net"), "net", problems)
        connect(define_layers(layers, NetState(phase), "net", problems, filtered=True), "net", problems)
        problems.raise_if_any()


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_there_and_back(first: int) -> None:
    for seed in range(first, first + 50):
        raw = Writer(seed).network().encode()
        check(raw)
        for python_layer in (False, True):
            change = insert_quant_layers(raw, "net", python_layer=python_layer)
            check(change.content)
            assert strip_quant_layers(change.content, "net").content == raw, seed
            assert insert_quant_layers(change.content, "net").content == change.content, seed
