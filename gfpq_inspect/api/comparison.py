"""`Comparison`: a result that knows how to show itself."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfpq_inspect.analyze.result import Finding, LayerRow, Result, Task
from gfpq_inspect.errors import UsageError
from gfpq_inspect.files import write_atomically
from gfpq_inspect.report import figures
from gfpq_inspect.report.coefficientfile import render_coefficients, render_param_dict
from gfpq_inspect.report.frame import coefficient_frame, layer_frame
from gfpq_inspect.report.html import render_html
from gfpq_inspect.report.jsonfile import read_result, render_json
from gfpq_inspect.report.task_figure import task_loss

if TYPE_CHECKING:
    import pandas
    import plotly.graph_objects

    from gfpq_inspect.gate.outcome import GateReport


class Comparison:
    """What a comparison found.

    Args:
        result: The plain result; see `gfpq_inspect.analyze.result`.
    """

    def __init__(self, result: Result) -> None:
        self._result = result

    @property
    def result(self) -> Result:
        """The whole analysis as plain frozen data."""
        return self._result

    @property
    def good(self) -> bool:
        """The verdict: what the command line's exit code says."""
        return self._result.judgement.good

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the checks found: errors and warnings first, then notes, what passed, and what did not apply."""
        return self._result.findings

    @cached_property
    def layers(self) -> pandas.DataFrame:
        """The layer table, a row a layer output, in network order; indexed from 0.

        Columns: `key` (unique row key), `layer`, `name`, `type`, `index`, `side` ('both', 'first', 'second'), `partner`
        (layer of the second model), `status`, `reason`, `understood`, `shape` ('1x8x16x16'), `elements`, `quantized`,
        `quantization_reason`, `is_output`, `verdict`, `cause`, `cause_reason`, `multiply_adds`, `source_line`, `inputs`
        (row keys), `notes`, `folded_into`; for each comparison (see `Result.comparisons`) and score a column
        `COMPARISON.SCORE`: `both.cosine`, `both.sqnr_db` (dB), `both.rel_l2`, `both.norm_ratio`, `both.status`, ...,
        and `both.cosine_spread.minimum` over samples; `isolation.share_data` and its like; for each metric of the
        caller's own `COMPARISON.METRIC` (mean over samples), `.minimum` and `.maximum`. Missing values are None or NaN.
        """
        frame = layer_frame(self._result)
        added: dict[str, list[Any]] = {}
        for metric, comparisons in self._result.details.get("metrics", {}).items():
            for comparison, rows in comparisons.items():
                for part, suffix in (("mean", ""), ("minimum", ".minimum"), ("maximum", ".maximum")):
                    found = [rows.get(row.key, {}).get(part) for row in self._result.layers]
                    added[f"{comparison}.{metric}{suffix}"] = [
                        float("nan") if value is None else float(value) for value in found
                    ]
        return frame.assign(**added) if added else frame

    @property
    def task(self) -> Task | None:
        """Decisions and accuracy of every lane, and metrics of the caller's own; None where no output decides."""
        return self._result.task

    @cached_property
    def accuracy(self) -> pandas.DataFrame:
        """A row for each output and lane: `output`, and the fields of `analyze.task_result.LaneDecisions`.

        `top1`, `top5` and `agreement` are shares; losses are percentage points against `reference`; intervals stand in
        columns `..._low` and `..._high`. Without decisions the frame is empty.
        """
        import pandas

        rows: list[dict[str, Any]] = []
        for output in self._result.task.outputs if self._result.task is not None else ():
            for lane in (*output.lanes, *output.tuned_lanes):
                row: dict[str, Any] = {"output": output.output}
                for name, value in vars(lane).items():
                    if name.endswith("_interval"):
                        row[f"{name}_low"] = None if value is None else value.low
                        row[f"{name}_high"] = None if value is None else value.high
                    else:
                        row[name] = value
                rows.append(row)
        return pandas.DataFrame(rows)

    @cached_property
    def coefficients(self) -> pandas.DataFrame:
        """The quantized tensors, a row each: layer, tensor, role ('data', 'weight'), coefficient or scale, evidence."""
        return coefficient_frame(self._result)

    def layer(self, name: str) -> LayerRow:
        """The row of a layer, by row key, else by layer key or name.

        Raises:
            UsageError: There is none, or several layers have the name.
        """
        for attribute in ("key", "layer", "name"):
            found = [row for row in self._result.layers if getattr(row, attribute) == name]
            if len(found) == 1 or (found and attribute == "layer"):
                return found[0]
            if found:
                keys = ", ".join(row.key for row in found)
                raise UsageError(f"several layers are called '{name}'; give one of the keys {keys}.")
        raise UsageError(f"there is no layer '{name}'; the column 'key' of .layers lists them.")

    def task_figure(self) -> plotly.graph_objects.Figure:
        """A Plotly figure: what every lane loses of the task, beside the guide's two figures (0.5 and 1 point).

        Raises:
            UsageError: No output of the network holds decisions.
        """
        spec = task_loss(self._result)
        if spec is None:
            raise UsageError("no output of the network holds decisions; compare with labels.")
        return figures.figure(spec)

    def save_coefficients(
        self, path: str | os.PathLike[str], *, param_dict: bool = False, overwrite: bool = False
    ) -> Path:
        """Write the coefficients, to be loaded by `compare(load_coefficients=...)`.

        Args:
            path: The file.
            param_dict: Write the tops of the grids as the mapper's `gfpq_param_dict` instead of 16-byte blocks.
            overwrite: Whether a file of that name may be replaced.

        Raises:
            UsageError: There are none.
            OutputError: The file exists, or cannot be written.
        """
        target = Path(path)
        render = render_param_dict if param_dict else render_coefficients
        write_atomically(target, render(self._result), overwrite=overwrite)
        return target

    def figure(self, layer: str | None = None, *, metric: str = "sqnr_db") -> plotly.graph_objects.Figure:
        """A Plotly figure: the error along the network, or the scores of one layer in all comparisons.

        Args:
            layer: A layer as `layer` takes it, or None for the network.
            metric: 'sqnr_db', 'cosine' or 'norm_ratio'.

        Raises:
            UsageError: No such layer or metric.
        """
        if metric not in figures.NETWORK_METRICS:
            raise UsageError(f"there is no figure of '{metric}'; there are {', '.join(figures.NETWORK_METRICS)}.")
        if layer is None:
            return figures.figure(figures.network_error(self._result, metric))
        row = self.layer(layer)
        scores = {name: getattr(score, metric) for name, score in row.scores.items()}
        present = {name: value for name, value in scores.items() if value is not None}
        layout = figures.base_layout("comparison", figures.METRIC_TITLES[metric])
        layout["title"] = {"text": figures.plotly_text(row.name)}
        bars = {"type": "bar", "x": list(present), "y": list(present.values())}
        return figures.figure({"data": [bars], "layout": layout})

    def to_html(self) -> str:
        """The report as one self-contained page."""
        return render_html(self._result)

    def to_json(self) -> str:
        """The result as the text of a result file."""
        return render_json(self._result)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the comparison to a file; its suffix chooses the form: .json (all of it), .html, .csv, .md, .parquet.

        Returns:
            The path.

        Raises:
            UsageError: Another suffix.
            OutputError: The file exists, or cannot be written.
        """
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix == ".parquet":
            from gfpq_inspect.report.parquetfile import render_parquet

            write_atomically(target, render_parquet(self._result), overwrite=overwrite)
            return target
        if suffix == ".json":
            text = self.to_json()
        elif suffix == ".html":
            text = self.to_html()
        elif suffix == ".csv":
            text = self.layers.to_csv(index=False, lineterminator="\n")
        elif suffix == ".md":
            from gfpq_inspect.report.markdown import render_markdown

            text = render_markdown(self._result)
        else:
            raise UsageError(f"{target}: the suffix says what to write; give .json, .html, .csv, .md or .parquet.")
        write_atomically(target, text, overwrite=overwrite)
        return target

    def gate(
        self,
        limits: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        *,
        today: datetime.date | None = None,
    ) -> GateReport:
        """Hold the comparison against limits, as `gfpq-inspect gate` does.

        Args:
            limits: A configuration file; or what would stand in its `gate` table, such as `{"cosine": 0.98}`; or None
                for the gfpq-inspect.toml or pyproject.toml of the current folder or above.
            today: The day that allowances are held against; today (UTC) by default.

        Returns:
            Every check with its outcome. It is true where the gate passes: `assert comparison.gate()`.

        Raises:
            UsageError: There are no limits, or one has no meaning or can never fail.
            InputError: The baseline that they name is missing or damaged.
        """
        from gfpq_inspect.gate.baseline import read_baseline
        from gfpq_inspect.gate.configuration import open_settings
        from gfpq_inspect.gate.judge import judge

        settings = open_settings(limits)
        baseline = read_baseline(settings.baseline.file) if settings.baseline is not None else None
        day = today if today is not None else datetime.datetime.now(datetime.UTC).date()
        return judge(self._result, settings, today=day, baseline=baseline)

    def __repr__(self) -> str:
        return f"<Comparison of {len(self._result.layers)} layer outputs: {self._result.judgement.sentence}>"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<p>{escape(self._result.judgement.sentence)}</p>{self.layers.head(20).to_html()}"


def open_result(path: str | os.PathLike[str]) -> Comparison:
    """Read a comparison from a result file that the tool or `save` wrote.

    Raises:
        InputError: It is missing or damaged.
    """
    return Comparison(read_result(Path(path)))
