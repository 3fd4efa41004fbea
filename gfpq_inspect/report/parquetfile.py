"""The layer table as a Parquet file."""

from __future__ import annotations

import io

from gfpq_inspect.analyze.result import Result
from gfpq_inspect.errors import MissingExtraError
from gfpq_inspect.report.frame import layer_frame


def render_parquet(result: Result) -> bytes:
    """Write the layer table, one row a layer, with the columns of `layer_frame`.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: PLC0415 (optional, and slow to import)
        import pyarrow.parquet  # noqa: PLC0415  (optional: the extra 'parquet')
    except ImportError as error:
        raise MissingExtraError("a Parquet file", "parquet") from error
    table = pyarrow.Table.from_pandas(layer_frame(result), preserve_index=False)
    stream = io.BytesIO()
    pyarrow.parquet.write_table(table, stream, compression="zstd")
    return stream.getvalue()
