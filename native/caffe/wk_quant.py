"""GFPQ quantization inside Caffe, for every Caffe that has Python layers; nothing is recompiled.

One file, to be copied beside the training script (or anywhere on PYTHONPATH). Needs Python 3.6 or later, numpy, and
libgfpq.so: the one of this project or any other with the same interface. It is looked for in the environment variable
GFPQ_LIBRARY, beside this file, in GFPQLibs/lib beside this file, and by the system's loader.

Data: the layer `QuantLayer`, in a prototxt

    layer {
      name: "conv1_quant" type: "Python" bottom: "conv1" top: "conv1_quant"
      param { lr_mult: 0 decay_mult: 0 }
      python_param { module: "wk_quant" layer: "QuantLayer" param_str: "{'quant_bits': 8, 'quant_en': 1}" }
    }

(`gfpq-inspect insert-quant --python-layer` writes them.) In training the first batch sets the coefficient (INIT) and
later ones raise it (UPDATE); in the test phase the stored one is used (APPLY). It lies in the layer's blob and so in
every snapshot. The gradient goes through unchanged.

Weights: `Trainer`, around a solver

    solver = caffe.SGDSolver("solver.prototxt")
    solver.net.copy_from("float.caffemodel")
    trainer = wk_quant.Trainer(solver)
    trainer.step(1000)
    print(trainer.test())
    trainer.save_quantized("quant.caffemodel")

Before forward and backward each weight is quantized; before the update the float master is put back, so that small
updates add up instead of being rounded away. BatchNorm, Scale, Bias, Quant layers and all biases are left alone, and so
is the solver's momentum history. The solver's own snapshots hold the float master.
"""

import ast
import contextlib
import ctypes
import os
import struct
import sys
from pathlib import Path

import numpy as np

try:
    import caffe

    if not hasattr(caffe, "Layer"):  # a folder that happens to be called caffe imports as well
        caffe = None
except ImportError:  # quantize() and the parameter block work without it
    caffe = None

INIT, UPDATE, APPLY_ONLY = 0, 1, 2
TRAIN, TEST = 0, 1
WEIGHT_TYPES = frozenset(
    (
        "Convolution",
        "Deconvolution",
        "DepthwiseConvolution",
        "DepthwiseConv",
        "DepthWiseConv",
        "ConvolutionDepthwise",
        "ConvolutionDepthWise",
        "DeconvolutionDepthwise",
        "DepthwiseDeconvolution",
        "InnerProduct",
    )
)
"""Layer types whose first blob NNIE quantizes."""

_BITS = (8, 16)
_ERRORS = {
    0xFFFF0000: "a failure inside the library",
    0xFFFF0005: "a bit width other than 8 and 16",
    0xFFFF0006: "bad parameters",
    0xFFFF000C: "out of memory",
    0xFFFF0011: "not supported by this library",
}
_state = {"library": None}


class GfpqParam(ctypes.Structure):
    """A mode and the 16-byte parameter block, as the library takes them."""

    _fields_ = [("mode", ctypes.c_uint), ("buf", ctypes.c_ubyte * 16)]

    @property
    def delta(self):
        """The coefficient in the block."""
        return struct.unpack_from("<i", bytes(bytearray(self.buf)), 4)[0]

    @classmethod
    def of(cls, mode, delta=None):
        """Make a block for a call; without a coefficient it is empty."""
        param = cls(mode=mode)
        if delta is not None:
            n = ~int(delta) & 0xFFFFFFFF
            first = ((n << 3) | (n << 11) | (n << 21) | (n << 27)) & 0xFFFFFFFF
            third = first ^ 0xA5A5A5A5
            block = struct.pack("<IiII", first, int(delta), third, ~third & 0xFFFFFFFF)
            ctypes.memmove(param.buf, block, 16)
        return param


def library():
    """Load libgfpq once.

    Raises:
        OSError: It is nowhere; says where it was looked for.
    """
    if _state["library"] is None:
        _state["library"] = _load()
    return _state["library"]


def _load():
    here = Path(__file__).resolve().parent
    names = ("libgfpq.so.1", "libgfpq.so", "libgfpq.1.dylib", "gfpq.dll")
    given = os.environ.get("GFPQ_LIBRARY")
    beside = [str(folder / name) for folder in (here, here / "GFPQLibs" / "lib") for name in names]
    places = [given] if given else beside + list(names)
    for place in places:
        if Path(place).is_absolute() and not Path(place).exists():
            continue
        try:
            found = ctypes.CDLL(place)
        except OSError:
            continue
        function = found.HI_GFPQ_QuantAndDeQuant_PY
        function.restype = ctypes.c_int
        function.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.POINTER(GfpqParam)]
        return found
    listed = ", ".join(places)
    raise OSError(f"wk_quant: libgfpq.so was not found (looked for: {listed}); set GFPQ_LIBRARY to its path")


def quantize(array, bits=8, param=None):
    """Quantize and dequantize an array in place.

    Args:
        array: float32, C-contiguous, any shape.
        bits: 8 or 16.
        param: GfpqParam with the mode and, for UPDATE and APPLY_ONLY, the coefficient; receives the new one. INIT
            without keeping anything when None.

    Raises:
        ValueError: The array cannot be used.
        RuntimeError: The library refuses; with its code.
    """
    if array.dtype != np.float32 or not array.flags.c_contiguous or not array.flags.writeable:
        raise ValueError("wk_quant: quantize() takes a writeable C-contiguous float32 array")
    if bits not in _BITS:
        raise ValueError(f"wk_quant: quant_bits is {bits!r}, GFPQ has 8 and 16 bits")
    if array.size == 0:
        return
    pointer = ctypes.byref(param) if param is not None else None
    code = library().HI_GFPQ_QuantAndDeQuant_PY(array.ctypes.data, array.size, bits, pointer)
    if code != 0:
        code &= 0xFFFFFFFF
        raise RuntimeError("wk_quant: libgfpq returned 0x{:08x}: {}".format(code, _ERRORS.get(code, "unknown")))


def _options(text):
    """Read param_str: the text of a dictionary."""
    try:
        values = ast.literal_eval(text or "{}")
    except (ValueError, SyntaxError):
        values = None
    known = {"quant_bits", "quant_en", "store"}
    if not isinstance(values, dict) or set(values) - known:
        raise ValueError(f"wk_quant: param_str is {text!r}; write \"{{'quant_bits': 8, 'quant_en': 1}}\"")
    bits = values.get("quant_bits", 8)
    if bits not in _BITS:
        raise ValueError(f"wk_quant: quant_bits is {bits!r}, GFPQ has 8 and 16 bits")
    return bits, bool(values.get("quant_en", 1)), bool(values.get("store", 1))


class QuantLayer(caffe.Layer if caffe is not None else object):
    """A quantization point: bottom to the grid, gradient straight through.

    param_str holds quant_bits (8 or 16), quant_en (0 makes the layer pass its bottom on) and store (1: the coefficient
    lies in a blob of the layer; 0: the layer has no blob, for weight files in which Quant layers have none).

    The blob holds two numbers: 1 once there is a coefficient, and the coefficient.
    """

    def setup(self, bottom, top):
        """Read the options; called once by Caffe."""
        if len(bottom) != 1 or len(top) != 1:
            raise ValueError("wk_quant: QuantLayer takes one bottom and one top")
        self.bits, self.enabled, self.store = _options(self.param_str)
        self.delta = None
        self._written = None
        self._warned = False
        if self.store:
            self.blobs.add_blob(2)

    def reshape(self, bottom, top):
        """Top like bottom."""
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        """INIT, then UPDATE in training; APPLY in the test phase."""
        values = top[0].data
        if not np.shares_memory(values, bottom[0].data):
            values[...] = bottom[0].data
        if not self.enabled:
            return
        training = getattr(self, "phase", TEST) == TRAIN
        delta = self._stored()
        if delta is None:
            mode = INIT
            if not training and not self._warned:
                self._warned = True
                sys.stderr.write(
                    "wk_quant: a QuantLayer has no coefficient from training yet: each test batch sets its own\n"
                )
        else:
            mode = UPDATE if training else APPLY_ONLY
        param = GfpqParam.of(mode, delta)
        quantize(values, self.bits, param)
        if training and values.size:
            self._keep(param.delta)

    def backward(self, top, propagate_down, bottom):
        """Pass the gradient on unchanged."""
        if propagate_down[0] and not np.shares_memory(bottom[0].diff, top[0].diff):
            bottom[0].diff[...] = top[0].diff

    def _stored(self):
        """Return the coefficient, or None; a blob that was loaded since counts, one that a solver decayed does not."""
        if not self.store:
            return self.delta
        held = np.array(self.blobs[0].data)
        loaded = self._written is None or (np.any(held != self._written) and np.all(held == np.rint(held)))
        if getattr(self, "phase", TEST) != TRAIN or loaded:
            return int(np.rint(held[1])) if held[0] > 0.5 else None
        return self.delta

    def _keep(self, delta):
        self.delta = delta
        if self.store:
            self._written = np.array([1, delta], np.float32)
            self.blobs[0].data[...] = self._written


class WeightQuantizer:
    """Swaps quantized weights in and the float master back.

    Args:
        net: caffe.Net.
        bits: 8 or 16; layers named *_hp get 16, layers named *_cpu stay float.
        layers: Names of the layers to quantize; by default all that NNIE quantizes.

    Attributes:
        names: Names of the quantized layers, in order.
        active: Whether the net holds quantized weights now.
    """

    def __init__(self, net, bits=8, layers=None):
        if bits not in _BITS:
            raise ValueError(f"wk_quant: bits is {bits!r}, GFPQ has 8 and 16")
        self.active = False
        self.names = []
        self._weights = []
        seen = set()
        for name, layer in zip(net._layer_names, net.layers):
            wanted = layer.type in WEIGHT_TYPES and not _has_suffix(name, "_cpu") if layers is None else name in layers
            if not wanted or not len(layer.blobs):
                continue
            blob = layer.blobs[0]
            address = blob.data.ctypes.data
            if address in seen:  # shared by name with an earlier layer: its master is kept once
                continue
            seen.add(address)
            self.names.append(name)
            self._weights.append((name, blob, 16 if _has_suffix(name, "_hp") else bits, np.empty_like(blob.data)))
        missing = set(layers or ()) - set(net._layer_names)
        if missing:
            raise ValueError(f"wk_quant: the net has no layer '{sorted(missing)[0]}'")

    def quantize(self):
        """Remember the float weights and put quantized ones in their place."""
        if self.active:
            return
        for name, blob, _, master in self._weights:
            if not np.isfinite(blob.data).all():
                raise ValueError(f"wk_quant: layer '{name}' holds weights that are not finite")
            master[...] = blob.data
        for _, blob, bits, _ in self._weights:
            quantize(blob.data, bits)
        self.active = True

    def restore(self):
        """Put the float weights back; gradients stay."""
        if not self.active:
            return
        for _, blob, _, master in self._weights:
            blob.data[...] = master
        self.active = False

    @contextlib.contextmanager
    def quantized(self):
        """Quantized weights inside a `with`, the float master after it, whatever happens."""
        self.quantize()
        try:
            yield
        finally:
            self.restore()


class Trainer:
    """Fine-tunes with a float master.

    Args:
        solver: Any pycaffe solver.
        bits: See WeightQuantizer.
        layers: See WeightQuantizer.

    Attributes:
        solver: The solver.
        weights: The WeightQuantizer of its training net.
    """

    def __init__(self, solver, bits=8, layers=None):
        self.solver = solver
        self.weights = WeightQuantizer(solver.net, bits, layers)
        self._called = hasattr(solver, "add_callback")
        if self._called:
            # Around forward and backward of each iteration, all passes of iter_size included; the update comes after.
            solver.add_callback(self.weights.quantize, self.weights.restore)
        elif not hasattr(solver, "apply_update"):
            raise RuntimeError("wk_quant: this pycaffe has neither solver.add_callback nor solver.apply_update")

    def step(self, iterations=1):
        """Train; afterwards, and if training is interrupted, the net holds the float master."""
        try:
            if self._called:
                self.solver.step(iterations)
            else:
                for _ in range(iterations):
                    self._step_by_hand()
        finally:
            self.weights.restore()

    def _step_by_hand(self):
        for params in self.solver.net.params.values():
            for blob in params:
                blob.diff[...] = 0
        with self.weights.quantized():
            self.solver.net.forward()
            self.solver.net.backward()
        self.solver.apply_update()

    def test(self, iterations=1, index=0):
        """Run a test net with quantized weights.

        Args:
            iterations: Batches.
            index: Which of the solver's test nets.

        Returns:
            Output name to its mean over the batches.
        """
        net = self.solver.test_nets[index]
        net.share_with(self.solver.net)
        sums = {}
        with self.weights.quantized():
            for _ in range(iterations):
                for name, value in net.forward().items():
                    sums[name] = sums.get(name, 0.0) + np.array(value, np.float64)
        return {name: value / iterations for name, value in sums.items()}

    def save_quantized(self, path):
        """Write a caffemodel with quantized weights; the net keeps its float master."""
        with self.weights.quantized():
            self.solver.net.save(str(path))

    def save_master(self, path):
        """Write a caffemodel with the float master."""
        self.weights.restore()
        self.solver.net.save(str(path))


def _has_suffix(name, suffix):
    """Whether one of NNIE's markers stands at the end of a name, in any order with the others."""
    markers = ("_report", "_hp", "_cpu")
    while True:
        found = next((marker for marker in markers if name.endswith(marker)), None)
        if found is None:
            return False
        if found == suffix:
            return True
        name = name[: -len(found)]
