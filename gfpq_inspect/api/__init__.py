"""What `import gfpq_inspect` offers."""

from gfpq_inspect.api.comparison import Comparison, open_result
from gfpq_inspect.api.run import compare, load

__all__ = ["Comparison", "compare", "load", "open_result"]
