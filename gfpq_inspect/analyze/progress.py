"""How a run tells the outside how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of phases and steps; called from one thread at a time."""

    def note(self, text: str) -> None:
        """A sentence that the person should read before the next phase."""
        ...

    def phase(self, name: str, total: int) -> None:
        """A phase begins that will advance `total` times."""
        ...

    def advance(self, count: int, current: str) -> None:
        """`count` more are done; `current` names what was just worked on (a layer or a sample)."""
        ...


class Silence:
    """Progress that nobody watches."""

    def note(self, text: str) -> None:
        """See `Progress`."""

    def phase(self, name: str, total: int) -> None:
        """See `Progress`."""

    def advance(self, count: int, current: str) -> None:
        """See `Progress`."""
