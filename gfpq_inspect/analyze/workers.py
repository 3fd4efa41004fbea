"""What several workers share: the processors, and the one that watches them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gfpq_inspect.analyze.batches import Stopped
from gfpq_inspect.analyze.progress import Progress
from gfpq_inspect.models.model import Layer
from gfpq_inspect.quantize import set_thread_limit, thread_limit


@contextmanager
def one_thread_a_worker(workers: int) -> Iterator[None]:
    """Keep the kernels of several workers from fighting for the processors."""
    before = thread_limit()
    set_thread_limit(max(1, before // max(1, workers)))
    try:
        yield
    finally:
        set_thread_limit(before)


class Watch:
    """Tells the progress of all workers, one at a time, and lets them stop in the middle of a batch."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self.stop = threading.Event()

    def for_batch(self, samples: int) -> Callable[[Layer], None]:
        """What a worker calls after each layer of a batch."""

        def layer_done(layer: Layer) -> None:
            if self.stop.is_set():
                raise Stopped
            with self._lock:
                self._progress.advance(samples, layer.name)

        return layer_done
