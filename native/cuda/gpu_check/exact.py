"""The same bits as on the CPU: libgfpq_gpu and the CuPy path against libgfpq."""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from .build import ROOT
from .library import APPLY_ONLY, INIT, SUCCESS, UPDATE, Libraries, Library, Parameter, block_of
from .report import Report

CHUNK = 1 << 28
DELTAS = {8: (-77, -127, 100, -511, 511), 16: (-1002, -1407, 300, -4095, 4095)}
"""The first three of each are those of the recorded digests; the others are the ends of the range."""


class HostPatterns:
    """A chunk of consecutive bit patterns on the host, quantized by all processors."""

    def __init__(self) -> None:
        self.patterns = np.empty(CHUNK, np.uint32)
        self._base = np.arange(CHUNK, dtype=np.uint32)
        pieces = 4 * (os.cpu_count() or 1)
        self._pieces = [slice(i * CHUNK // pieces, (i + 1) * CHUNK // pieces) for i in range(pieces)]
        self._pool = ThreadPoolExecutor(os.cpu_count())

    def quantize(self, library: Library, first: int, bits: int, block: bytes) -> list[Future[int]]:
        """Start to fill `patterns` with what the patterns from `first` on become."""
        return [self._pool.submit(self._piece, piece, library, (first, bits, block)) for piece in self._pieces]

    def _piece(self, piece: slice, library: Library, what: tuple[int, int, bytes]) -> int:
        first, bits, block = what
        data = self.patterns[piece]
        np.add(self._base[piece], np.uint32(first), out=data)
        return library.cpu(data.ctypes.data, data.size, bits, Parameter.of(APPLY_ONLY, block))


class Exact:
    """The comparisons.

    Args:
        report: Takes the findings.
        libraries: What is compared.
        kernels: gfpq_inspect.quantize.cuda_kernels.
        door: gfpq_inspect.quantize.
    """

    def __init__(self, report: Report, libraries: Libraries, kernels: Any, door: Any) -> None:
        self.report, self.kernels, self.door = report, kernels, door
        self.gpu, self.fast, self.reference = libraries.gpu, libraries.fast, libraries.reference
        self._anything = cupy.zeros(4)

    def on_cpu(self, library: Library, data: NDArray[Any], bits: int, parameter: Parameter | None) -> int:
        """Call the CPU function on an array, in place."""
        return library.cpu(data.ctypes.data, data.size, bits, parameter, size=data.itemsize)

    def on_gpu(self, data: Any, bits: int, parameter: Parameter | None, stream: int = 0) -> int:
        """Call the GPU function on a CuPy array, in place."""
        pointer = data.data.ptr or self._anything.data.ptr  # an empty array has none
        return self.gpu.gpu(pointer, data.size, bits, parameter, size=data.itemsize, stream=stream)

    # ------------------------------------------------------------------------------------------------- every float32

    def every_float32(self, deadline_s: float) -> None:
        """All 2^32 patterns for several coefficients, both GPU paths against the CPU."""
        host = HostPatterns()
        for turn in range(5):
            for bits in (8, 16):
                delta = DELTAS[bits][turn]
                if self.report.elapsed_s() > deadline_s:
                    self.report.check("exhaustive", f"all 2^32 at {bits} bit, delta {delta}", False, "no time left")
                    continue
                begin = time.monotonic()
                by_reference = turn == 0
                in_library, in_cupy = self._every_pattern(
                    bits, delta, self.reference if by_reference else self.fast, host
                )
                against = "scalar reference" if by_reference else "fast CPU kernel"
                self.report.check(
                    "exhaustive",
                    f"all 2^32 at {bits} bit, delta {delta}, against the {against}",
                    in_library == in_cupy == 0,
                    f"{in_library} differ in libgfpq_gpu, {in_cupy} in CuPy; {time.monotonic() - begin:.1f} s",
                )

    def _every_pattern(self, bits: int, delta: int, library: Library, host: HostPatterns) -> tuple[int, int]:
        """How many patterns come out differently in libgfpq_gpu and in CuPy."""
        in_library = in_cupy = 0
        for first in range(0, 1 << 32, CHUNK):
            futures = host.quantize(library, first, bits, block_of(delta))
            data = (cupy.arange(CHUNK, dtype=cupy.uint32) + np.uint32(first)).view(cupy.float32)
            out = self.kernels.apply(data, bits, delta)
            code = self.on_gpu(data, bits, Parameter.of(APPLY_ONLY, block_of(delta)))
            assert code == SUCCESS, code
            for future in futures:
                assert future.result() == SUCCESS
            wanted = cupy.asarray(host.patterns)
            in_library += int((data.view(cupy.uint32) != wanted).sum())
            in_cupy += int((out.view(cupy.uint32) != wanted).sum())
            del data, out, wanted
        return in_library, in_cupy

    # -------------------------------------------------------------------------------------------------------- float64

    def float64(self) -> None:
        """Borders of codes with their neighbours, special values and random patterns."""
        rng = np.random.default_rng(20190520)
        tested = different = 0
        for bits, steps, top in ((8, 16, 127), (16, 128, 1407)):
            for delta in (*DELTAS[bits], -2000, 600, 5000, -5000, 20000, -20000, 2**31 - 1, -(2**31)):
                exponents = np.clip((float(delta) + np.arange(-2, top + 3) - 0.5) / steps, -1074, 1023)
                middles = np.exp2(exponents).view(np.int64)
                near = (middles[:, None] + np.arange(-40, 41)).ravel()
                random = rng.integers(0, 2**63, 100_000, dtype=np.int64)
                data = np.concatenate([np.maximum(near, 0), random]).view(np.float64)
                special = np.array([0, np.inf, np.nan, 5e-324, 1.7e308, 1, 9])
                data = np.concatenate([data, -data, special, -special])
                expected = data.copy()
                parameter = Parameter.of(APPLY_ONLY, block_of(delta))
                self.on_cpu(self.reference, expected, bits, parameter)
                on_gpu = cupy.asarray(data)
                by_cupy = self.kernels.apply(on_gpu, bits, delta)
                assert self.on_gpu(on_gpu, bits, parameter) == SUCCESS
                tested += 2 * data.size
                for result in (on_gpu, by_cupy):
                    different += int((result.get().view(np.uint64) != expected.view(np.uint64)).sum())
        self.report.check("float64", f"{tested:,} results", different == 0, f"{different} differ")

    def subnormal(self) -> None:
        """Coefficients so low that values are subnormal in float32; every such number, and a sample of the rest."""
        patterns = np.concatenate([np.arange(1 << 23, dtype=np.uint32), np.arange(0, 1 << 31, 4099, dtype=np.uint32)])
        data = np.concatenate([patterns, patterns | np.uint32(1 << 31)]).view(np.float32)
        wrong: list[str] = []
        for bits, deltas in ((8, (-2010, -2150, -2300)), (16, (-16010, -17400, -19000))):
            for delta in deltas:
                expected, parameter = data.copy(), Parameter.of(APPLY_ONLY, block_of(delta))
                self.on_cpu(self.reference, expected, bits, parameter)
                on_gpu = cupy.asarray(data)
                by_cupy = self.kernels.apply(on_gpu, bits, delta)
                assert self.on_gpu(on_gpu, bits, parameter) == SUCCESS
                for name, result in (("libgfpq_gpu", on_gpu), ("CuPy", by_cupy)):
                    differ = int((result.get().view(np.uint32) != expected.view(np.uint32)).sum())
                    if differ:
                        wrong.append(f"{name} {bits} bit, delta {delta}: {differ} of {data.size}")
        found = [self.kernels.extremes(cupy.asarray(data[:count])).largest for count in (2, 100, 1 << 23)]
        if found != [float(data[count - 1]) for count in (2, 100, 1 << 23)]:
            wrong.append(f"largest magnitudes {found}")
        self.report.check(
            "subnormal", f"{data.size:,} numbers, six coefficients, both paths", not wrong, "; ".join(wrong)
        )

    # ------------------------------------------------------------------------------------------------- recorded calls

    def recorded(self) -> None:
        """Every recorded call of the original library, through libgfpq_gpu and through gfpq_inspect.quantize."""
        wrong: list[str] = []
        calls = 0
        with np.load(ROOT / "fixtures" / "gfpq" / "gfpq_cases.npz") as archive:
            for case in json.loads(bytes(archive["cases"])):
                calls += 1
                data, expected = archive[f"in_{case['id']}"], archive[f"out_{case['id']}"]
                parameter = None if case["null_param"] else Parameter.of(case["mode"], bytes.fromhex(case["param_in"]))
                array = cupy.asarray(data)
                code = self.on_gpu(array, case["bits"], parameter)
                same = code & 0xFFFFFFFF == case["ret"] and array.get().tobytes() == expected.tobytes()
                if parameter is not None:
                    same = same and bytes(parameter.buf).hex() == case["param_out"]
                if not same:
                    wrong.append(f"libgfpq_gpu {case['id']} {case['name']}")
                if case["ret"] == 0 and not self._repeats_in_python(case, data, expected):
                    wrong.append(f"CuPy {case['id']} {case['name']}")
        self.report.check("recorded", f"{calls} recorded calls, both paths", not wrong, ", ".join(wrong[:8]))

    def _repeats_in_python(self, case: dict[str, Any], data: NDArray[Any], expected: NDArray[Any]) -> bool:
        delta = int.from_bytes(bytes.fromhex(case["param_in"])[4:8], "little", signed=True)
        mode = case["mode"] if case["mode"] in (INIT, APPLY_ONLY) and not case["null_param"] else UPDATE
        mode = INIT if case["null_param"] else mode
        param = self.door.GfpqParam(None if mode == INIT else delta)
        result = self.door.quantize_dequantize(cupy.asarray(data), case["bits"], mode, param, nonfinite="count")
        wanted = int.from_bytes(bytes.fromhex(case["param_out"])[4:8], "little", signed=True)
        same = isinstance(result, cupy.ndarray) and result.get().tobytes() == expected.tobytes()
        return same and (case["null_param"] or data.size == 0 or param.delta == wanted)

    # -------------------------------------------------------------------------------------- shapes, streams, libraries

    def small_and_unaligned(self) -> None:
        """0 to 200 elements at every alignment, guards around them, all modes."""
        wrong: list[str] = []
        rng = np.random.default_rng(7)
        for dtype, word in ((np.float32, np.uint32), (np.float64, np.uint64)):
            for count in range(201):
                for offset in range(4):
                    bits, mode = (8, 16)[count % 2], (INIT, UPDATE, APPLY_ONLY)[(count + offset) % 3]
                    block = block_of(-77 if bits == 8 else -1002)
                    whole = (rng.standard_normal(count + 8) * 3).astype(dtype)
                    wanted, parameter = whole.copy(), Parameter.of(mode, block)
                    self.on_cpu(self.fast, wanted[offset : offset + count], bits, parameter)
                    array, given = cupy.asarray(whole), Parameter.of(mode, block)
                    code = self.on_gpu(array[offset : offset + count], bits, given)
                    same = code == SUCCESS and bytes(given.buf) == bytes(parameter.buf)
                    if not same or (array.get().view(word) != wanted.view(word)).any():
                        wrong.append(f"library {np.dtype(dtype)} n={count} offset={offset} mode={mode}")
                    other = cupy.asarray(whole)
                    target = cupy.asarray(whole)[1:]
                    piece = slice(offset, offset + count)
                    self.kernels.apply(other[piece], bits, parameter.delta, out=target[piece])
                    if (target[piece].get().view(word) != wanted[piece].view(word)).any():
                        wrong.append(f"CuPy {np.dtype(dtype)} n={count} offset={offset}")
        self.report.check("shapes", "0 to 200 elements, four alignments, both types", not wrong, "; ".join(wrong[:5]))

    def streams(self) -> None:
        """Calls wait for their own stream and for nothing else; several threads at once."""
        stream = cupy.cuda.Stream(non_blocking=True)
        count = 1 << 26
        self.on_gpu(self._anything, 8, None, stream.ptr)  # working memory is had once
        with stream:
            data = cupy.zeros(count, cupy.float32)
            for _ in range(200):  # keeps the stream busy; the last state is what the call must see
                data += 0.03125
        began = time.perf_counter()
        code = self.on_gpu(data, 8, None, stream.ptr)
        returned = time.perf_counter() - began
        stream.synchronize()
        finished = time.perf_counter() - began
        expected = np.full(1, 200 * 0.03125, np.float32)
        self.on_cpu(self.fast, expected, 8, None)
        correct = code == SUCCESS and bool((data == float(expected[0])).all())
        self.report.check(
            "streams",
            "follows what the stream does, and returns before",
            correct and returned < 0.5 * finished,
            f"returned after {returned * 1e3:.2f} ms of {finished * 1e3:.2f} ms",
        )
        wrong: list[str] = []
        workers = [threading.Thread(target=self._on_own_stream, args=(seed, wrong)) for seed in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self.report.check("streams", "eight threads with a stream each", not wrong, "; ".join(wrong[:5]))

    def _on_own_stream(self, seed: int, wrong: list[str]) -> None:
        rng = np.random.default_rng(seed)
        stream = cupy.cuda.Stream(non_blocking=True)
        for turn in range(40):
            dtype = (np.float32, np.float64)[turn % 2]
            bits, mode = (8, 16)[turn // 2 % 2], (INIT, UPDATE, APPLY_ONLY)[turn % 3]
            data = (rng.standard_normal(int(rng.integers(1, 300_000))) * 10.0 ** rng.integers(-6, 7)).astype(dtype)
            block = block_of(-100)
            expected, wanted = data.copy(), Parameter.of(mode, block)
            self.on_cpu(self.fast, expected, bits, wanted)
            with stream:
                array = cupy.asarray(data)
            given = Parameter.of(mode, block)
            code = self.on_gpu(array, bits, given, stream.ptr)
            stream.synchronize()
            if code != SUCCESS or bytes(given.buf) != bytes(wanted.buf) or array.get().tobytes() != expected.tobytes():
                wrong.append(f"thread {seed} turn {turn}")

    def libraries(self) -> None:
        """CuPy and PyTorch arrays through gfpq_inspect.quantize."""
        import torch  # noqa: PLC0415  (slow, and only this check needs it)

        data = np.random.default_rng(3).standard_normal((37, 53)).astype(np.float32)
        expected, parameter = data.copy(), Parameter.of(INIT)
        self.on_cpu(self.fast, expected, 8, parameter)
        tensor = torch.from_numpy(data.copy()).cuda()
        result = self.door.quantize_dequantize(tensor)
        same = result.is_cuda and bool((result.cpu().numpy() == expected).all())
        self.report.check("libraries", "a PyTorch tensor gives a PyTorch tensor", same)
        pointer = tensor.data_ptr()
        returned = self.door.quantize_dequantize(tensor, out=tensor)
        in_place = returned is tensor and tensor.data_ptr() == pointer
        self.report.check("libraries", "in place", in_place and bool((tensor.cpu().numpy() == expected).all()))
        transposed = torch.from_numpy(data.copy()).cuda().t()
        same = bool((self.door.quantize_dequantize(transposed).t().cpu().numpy() == expected).all())
        self.report.check("libraries", "not contiguous", same)
        half = torch.from_numpy(data).cuda().to(torch.bfloat16)
        result = self.door.quantize_dequantize(half)
        wide = half.float().cpu().numpy()
        self.on_cpu(self.fast, wide, 8, None)
        wanted = torch.from_numpy(wide).to(torch.bfloat16)
        same = result.dtype == torch.bfloat16 and bool((result.cpu() == wanted).all())
        self.report.check("libraries", "bfloat16", same)
        for bits in (8, 16):
            codes = self.door.quantize(cupy.asarray(data), bits)
            back = self.door.dequantize(codes.codes, codes.param)
            wanted = data.copy()
            self.on_cpu(self.fast, wanted, bits, None)
            same = back.get().tobytes() == wanted.tobytes()
            self.report.check("libraries", f"codes and back at {bits} bit", same)

    def similarity(self) -> None:
        """The sums of the similarity kernel against NumPy's, and their independence of batch and alignment."""
        rng = np.random.default_rng(11)
        wrong: list[str] = []
        shapes = ((1, 1, 1), (3, 1000, 1), (2, 1_300_001, 1), (2, 16385, 3), (5, 70001, 2), (1, 1 << 20, 4))
        shapes += ((2, 40000, 9),)
        for dtype in (np.float32, np.float64):
            for kind in ("alike", "not finite", "far apart", "subnormal"):
                for samples, size, lanes in shapes:
                    x, ys = _tensors(rng, kind, (samples, size), lanes, np.dtype(dtype))
                    sums, products = self.kernels.similarity(cupy.asarray(x), [cupy.asarray(y) for y in ys])
                    label = f"{kind} {np.dtype(dtype)} {samples}x{size} lanes={lanes}"
                    if not agrees(x, ys, sums.get(), products.get()):
                        wrong.append(label)
                    shifted = cupy.empty(x.size + 1, dtype)[1:].reshape(x.shape)
                    shifted[...] = cupy.asarray(x)
                    again, _ = self.kernels.similarity(shifted[:1], [cupy.asarray(y[:1]) for y in ys])
                    if again.get().tobytes() != sums[:1].get().tobytes():
                        wrong.append(f"{label}: other bits for another batch and alignment")
        self.report.check("similarity", "sums, products, non-finite elements", not wrong, "; ".join(wrong))


def _tensors(
    rng: np.random.Generator, kind: str, shape: tuple[int, int], lanes: int, dtype: np.dtype[Any]
) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """A reference and lanes that are easy, or hard in one way."""
    scale = 1e-41 if kind == "subnormal" else 1.0
    x = (scale * rng.standard_normal(shape)).astype(dtype)
    ys = [(x + scale * 0.01 * rng.standard_normal(shape)).astype(dtype) for _ in range(lanes)]
    if kind == "not finite" and shape[1] > 100:
        x[0, 17], ys[0][0, 40], ys[-1][-1, 99] = np.nan, np.inf, -np.inf
    if kind == "far apart":
        ys[-1] = (1e-9 * ys[-1]).astype(dtype)
    return x, ys


def agrees(x: NDArray[Any], ys: list[NDArray[Any]], sums: NDArray[Any], products: NDArray[Any]) -> bool:
    """Whether sums and products are NumPy's within the rounding of float64 sums."""
    wide = x.astype(np.float64)
    with np.errstate(invalid="ignore"):
        errors = [y.astype(np.float64) - wide for y in ys]
    for sample in range(x.shape[0]):
        for lane, y in enumerate(ys):
            fine = np.isfinite(x[sample]) & np.isfinite(y[sample])
            p, q, d = wide[sample][fine], y[sample][fine].astype(np.float64), errors[lane][sample][fine]
            bad = np.flatnonzero(~fine)
            word = np.dtype(f"u{x.itemsize}")
            expected = [
                fine.sum(), p.sum(), q.sum(), (p * p).sum(), (q * q).sum(), (p * q).sum(), d.sum(), (d * d).sum(),
                np.abs(d).sum(), np.abs(d).max(), np.abs(p).max(), np.abs(q).max(), p.min(), p.max(), q.min(), q.max(),
                (~np.isfinite(x[sample])).sum(), (~np.isfinite(y[sample])).sum(), bad[0] if bad.size else -1,
                (x[sample].view(word) != y[sample].view(word)).sum(),
            ]  # fmt: skip
            # A sum's rounding is relative to the sum of magnitudes; what is squared has its own scale.
            sizes, counts = (np.abs(p).sum(), np.abs(q).sum(), np.abs(d).sum()), np.zeros(len(expected))
            counts[[1, 2, 6]] = sizes
            counts[5] = np.sqrt((p * p).sum() * (q * q).sum())
            if not (np.abs(sums[sample, lane] - expected) <= 1e-12 * np.abs(expected) + 1e-12 * counts).all():
                return False
        for i in range(len(ys)):
            for j in range(len(ys)):
                fine = np.isfinite(errors[i][sample]) & np.isfinite(errors[j][sample])
                expected_product = (errors[i][sample][fine] * errors[j][sample][fine]).sum()
                largest = np.abs(errors[i][sample][fine] * errors[j][sample][fine]).sum()
                if not np.isclose(products[sample, i, j], expected_product, rtol=0, atol=1e-12 * largest):
                    return False
    return True
