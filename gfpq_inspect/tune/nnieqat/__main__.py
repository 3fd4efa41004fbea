"""`python -m gfpq_inspect.tune.nnieqat SCRIPT ...`."""

from __future__ import annotations

from gfpq_inspect.tune.nnieqat.run import main

main()
