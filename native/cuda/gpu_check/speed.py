"""Bandwidth, as ratios of what the same GPU reaches in the same run."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

from .library import APPLY_ONLY, INIT, SUCCESS, Library, Parameter, block_of
from .report import Measurement, Report

SIZES = (13_107_200, 268_435_456)
LARGE = 1 << 25
READ = r"""
extern "C" __global__ void __launch_bounds__(512) read_all(const uint4* data, size_t packs, unsigned* out) {
    unsigned sum = 0;
    const size_t tile = 512 * 4;
    for (size_t base = blockIdx.x * tile; base < packs; base += gridDim.x * tile) {
        uint4 v[4];
        #pragma unroll
        for (int i = 0; i < 4; ++i) {
            const size_t at = base + threadIdx.x + i * 512;
            v[i] = at < packs ? data[at] : make_uint4(0, 0, 0, 0);
        }
        #pragma unroll
        for (int i = 0; i < 4; ++i) sum ^= v[i].x ^ v[i].y ^ v[i].z ^ v[i].w;
    }
    if (sum == 0x12345678u) *out = sum;
}
"""


def time_us(work: Callable[[], object], calls: int, rounds: int = 7) -> float:
    """Median over rounds of the time of one call, many queued at a time."""
    for _ in range(3):
        work()
    times = []
    for _ in range(rounds):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        for _ in range(calls):
            work()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end) * 1e3 / calls)
    return statistics.median(times)


def queued_time_us(work: Callable[[], object], calls: int, rounds: int = 7) -> float:
    """As `time_us`, of calls recorded once and queued by the driver: what Python takes to queue each is left out."""
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    times = []
    with stream:
        for _ in range(3):
            work()
        stream.begin_capture()
        for _ in range(calls):
            work()
        graph = stream.end_capture()
        graph.launch(stream)
        for _ in range(rounds):
            begin, end = cupy.cuda.Event(), cupy.cuda.Event()
            begin.record(stream)
            graph.launch(stream)
            end.record(stream)
            end.synchronize()
            times.append(cupy.cuda.get_elapsed_time(begin, end) * 1e3 / calls)
    return statistics.median(times)


def copier(target: Any, source: Any) -> Callable[[], None]:
    """The driver's device-to-device copy of one array to another."""
    return lambda: cupy.cuda.runtime.memcpyAsync(target.data.ptr, source.data.ptr, source.nbytes, 3, 0)


class Speed:
    """The measurements.

    Args:
        report: Takes them.
        gpu: libgfpq_gpu.
        kernels: gfpq_inspect.quantize.cuda_kernels.
    """

    def __init__(self, report: Report, gpu: Library, kernels: Any) -> None:
        self.report, self.gpu, self.kernels = report, gpu, kernels

    def run(self) -> None:
        """APPLY, INIT and the similarity kernel on both sizes."""
        for elements in SIZES:
            self._floats(elements, 100 if elements < LARGE else 20)
            self._doubles(elements // 2, 100 if elements < LARGE else 20)
            cupy.get_default_memory_pool().free_all_blocks()

    def _measure(
        self,
        operation: str,
        size: tuple[int, int],
        work: Callable[[], object],
        *,
        calls: int,
        baseline: Measurement | None = None,
        goal: float | None = None,
        clock: Callable[[Callable[[], object], int], float] = time_us,
    ) -> Measurement:
        """Time one operation; `size` is the number of elements and the bytes that each of them needs moved."""
        elements, bytes_each = size
        name = "itself" if baseline is None else baseline.operation
        measurement = Measurement(operation, elements, clock(work, calls), bytes_each * elements, 1.0, name, goal)
        if baseline is not None:
            measurement.ratio = measurement.rate / baseline.rate
        self.report.measure(measurement)
        return measurement

    def _floats(self, elements: int, calls: int) -> None:
        data = cupy.random.default_rng(1).standard_normal(elements, dtype=cupy.float32)
        other, out = cupy.empty_like(data), cupy.empty_like(data)
        copy = self._measure("device-to-device copy", (elements, 8), copier(other, data), calls=calls)
        self._library(data, calls, copy)
        apply = self.kernels.apply
        self._measure(
            "CuPy APPLY 8 bit, out of place",
            (elements, 8),
            lambda: apply(data, 8, -90, out=out),
            calls=calls,
            baseline=copy,
        )
        self._similarity((data, other, out), calls)

    def _doubles(self, elements: int, calls: int) -> None:
        data = cupy.random.default_rng(2).standard_normal(elements)
        other = cupy.empty_like(data)
        copy = self._measure("device-to-device copy of float64", (elements, 16), copier(other, data), calls=calls)
        self._library(data, calls, copy)

    def _library(self, data: Any, calls: int, copy: Measurement) -> None:
        """What a caller gets, counted as one read and one write, though INIT reads twice."""
        wanted = data.dtype == np.float32
        for bits in (8, 16):
            apply, init = Parameter.of(APPLY_ONLY, block_of(-90 if bits == 8 else -1100)), Parameter.of(INIT)
            for name, parameter, goal in (("APPLY", apply, 0.9), ("INIT", init, 0.6), ("INIT, no block", None, None)):

                def work(bits: int = bits, parameter: Parameter | None = parameter) -> None:
                    code = self.gpu.gpu(data.data.ptr, data.size, bits, parameter, size=data.itemsize)
                    assert code == SUCCESS, code

                self._measure(
                    f"libgfpq_gpu {name} {data.dtype} {bits} bit, in place",
                    (data.size, 2 * data.itemsize),
                    work,
                    calls=calls,
                    baseline=copy,
                    goal=goal if wanted else None,
                )

    def _similarity(self, arrays: tuple[Any, Any, Any], calls: int) -> None:
        data, second, third = arrays
        elements = data.size
        noise = cupy.random.default_rng(3).standard_normal(elements, dtype=cupy.float32)
        second[...] = data + np.float32(0.01) * noise
        third[...] = data - np.float32(0.02)
        del noise
        x, y, z = (array.reshape(1, elements) for array in (data, second, third))
        w = x + np.float32(0.01)
        for name, lanes in (("one lane", [y]), ("two lanes", [y, z]), ("three lanes", [y, z, w])):
            baseline = self._read(elements * (1 + len(lanes)), calls)
            self._measure(
                f"similarity, {name}",
                (elements, 4 + 4 * len(lanes)),
                lambda lanes=lanes: self.kernels.similarity(x, lanes),
                calls=calls,
                baseline=baseline,
                goal=0.9,
                clock=queued_time_us,
            )
            issued = time.perf_counter()
            for _ in range(calls):
                self.kernels.similarity(x, lanes)
            issued = (time.perf_counter() - issued) / calls
            cupy.cuda.Device().synchronize()
            print(f"   {issued * 1e6:.1f} us of the CPU to queue a call", flush=True)

    def _read(self, elements: int, calls: int) -> Measurement:
        """Only reading as many bytes as a call of the similarity kernel reads, so that a cache helps both alike."""
        data = cupy.zeros(elements, cupy.float32)
        read = cupy.RawKernel(READ, "read_all")
        attributes = cupy.cuda.Device().attributes
        blocks = attributes["MultiProcessorCount"] * (attributes["MaxThreadsPerMultiProcessor"] // 512)
        arguments = (data, np.uint64(elements // 4), cupy.zeros(1, cupy.uint32))
        return self._measure(
            "plain read",
            (elements, 4),
            lambda: read((blocks,), (512,), arguments),
            calls=calls,
            clock=queued_time_us,
        )

    def similarity_variants(self) -> None:
        """The similarity kernel with more or fewer threads and blocks: which are best on this GPU."""
        lines = []
        for elements in SIZES:
            arrays = [cupy.random.default_rng(seed).standard_normal(elements, dtype=cupy.float32) for seed in range(4)]
            calls = 100 if elements < LARGE else 10
            read = cupy.RawKernel(READ, "read_all")
            blocks = cupy.cuda.Device().attributes["MultiProcessorCount"] * 4
            for lanes, shapes in (
                (1, ((256, 4), (512, 2), (512, 1), (1024, 1))),
                (2, ((256, 2), (512, 1), (640, 1), (768, 1))),
                (3, ((256, 2), (384, 1), (512, 1))),
            ):
                packs = np.uint64(elements * (lanes + 1) // 4)
                arguments = (cupy.zeros(4 * int(packs), cupy.float32), packs, cupy.zeros(1, cupy.uint32))
                ideal = queued_time_us(functools.partial(read, (blocks,), (512,), arguments), calls, 3)
                for block, resident in shapes:
                    times = self._similarity_variant(arrays[: lanes + 1], (block, resident), calls)
                    text = ", ".join(f"{blocks} blocks {ideal / us:.3f}" for blocks, us in times.items())
                    lines.append(f"{elements:>11} lanes {lanes} {resident} x {block} threads: {text}")
                    print("   " + lines[-1], flush=True)
            del arrays
            cupy.get_default_memory_pool().free_all_blocks()
        self.report.texts["variants of the similarity kernel, ratio to a plain read"] = "\n".join(lines)

    def _similarity_variant(self, arrays: list[Any], shape: tuple[int, int], calls: int) -> dict[int, float]:
        block, resident = shape
        lanes, size = len(arrays) - 1, arrays[0].size
        text = self.kernels.similarity_source(lanes, "float32", GFPQ_RESIDENT=resident, GFPQ_THREADS=block)
        add, join = self.kernels.compile_similarity(text)
        width = lanes * 20 + lanes * lanes
        sums, products = cupy.empty(lanes * 20), cupy.empty(lanes * lanes)
        times = {}
        for rounds in (1, 2, 4):
            blocks = cupy.cuda.Device().attributes["MultiProcessorCount"] * resident * rounds
            partial = cupy.empty((width, blocks))
            first = (*arrays, np.uint64(size), partial)
            second = (partial, np.uint64(blocks), sums, products)

            def work(blocks: int = blocks, first: Any = first, second: Any = second) -> None:
                add((blocks, 1), (block,), first)
                join((width, 1), (32,), second)

            times[blocks] = queued_time_us(work, calls, 3)
        return times

    def variants(self) -> None:
        """APPLY at 8 and 16 bit with other block sizes and unrolling: which are best on this GPU."""
        lines = []
        for elements in SIZES:
            for block in (256, 512, 1024):
                for unroll in (1, 2, 4, 8):
                    ratios = self._variant(elements, block, unroll)
                    text = ", ".join(f"{bits} bit {ratio:.3f}" for bits, ratio in ratios.items())
                    lines.append(f"{elements:>11} block {block:>4} unroll {unroll}: {text}")
                    print("   " + lines[-1], flush=True)
            cupy.get_default_memory_pool().free_all_blocks()
        self.report.texts["variants of APPLY, ratio to a copy"] = "\n".join(lines)

    def _variant(self, elements: int, block: int, unroll: int) -> dict[int, float]:
        data = cupy.random.default_rng(1).standard_normal(elements, dtype=cupy.float32)
        other = cupy.empty_like(data)
        calls = 100 if elements < LARGE else 10
        copy = time_us(copier(other, data), calls, 3)
        attributes = cupy.cuda.Device().attributes
        resident = attributes["MultiProcessorCount"] * (attributes["MaxThreadsPerMultiProcessor"] // block)
        grid = (min(-(-elements // (block * unroll * 4)), resident),)
        text = self.kernels.source(GFPQ_BLOCK=block, GFPQ_UNROLL=unroll)
        module = cupy.RawModule(code=text, options=("-std=c++17",))
        ratios = {}
        for bits, delta in ((8, -90), (16, -1100)):
            kernel = module.get_function(f"gfpq_apply_float32_{bits}")
            arguments = (data, data, np.uint64(elements), np.int32(delta), np.uint64(0), np.int32(0))
            time = time_us(lambda kernel=kernel, arguments=arguments: kernel(grid, (block,), arguments), calls, 3)
            ratios[bits] = copy / time
        return ratios
