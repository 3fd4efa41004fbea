"""Where in the repository a failed check points to: the layer's line of a prototxt, else the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gfpq_inspect.gate.outcome import Check


@dataclass(frozen=True)
class Places:
    """Files that checks can point to, as paths relative to the repository with forward slashes.

    Attributes:
        configuration: The file that the gate was read from; '' for none.
        structures: 'first' and 'second' to the network's text file, where it is known.
        baseline: The baseline file, or ''.
    """

    configuration: str = ""
    structures: Mapping[str, str] = field(default_factory=dict)
    baseline: str = ""

    def of(self, check: Check) -> tuple[str, int | None]:
        """File ('' for none) and line of a check."""
        if check.layer is not None and check.side in self.structures:
            return self.structures[check.side], check.line
        if check.rule in ("model-changed", "data-changed", "setup-changed", "layer-gone") and self.baseline:
            return self.baseline, None
        return self.configuration, None
