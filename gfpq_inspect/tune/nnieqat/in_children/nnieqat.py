"""Serves `nnieqat` to processes that a script spawns; stands at the end of their `sys.path`, see `run`."""

import sys

from gfpq_inspect.tune.nnieqat import alias

alias.install()
del sys.modules[__name__]
__import__(__name__)
