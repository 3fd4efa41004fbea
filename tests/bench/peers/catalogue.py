"""The peers: what each needs, and the script that runs it."""

from __future__ import annotations

from dataclasses import dataclass

WITHOUT_CUDA = "torch==2.13.0"
"""The PyTorch whose wheel needs no CUDA packages; later ones may bring gigabytes."""


@dataclass(frozen=True)
class Peer:
    """A tool to measure against.

    Attributes:
        name: As on the command line and in tables.
        script: Module of this package that runs it.
        environment: Name of its virtual environment; peers with the same one share it.
        requires: What is installed there.
        constraints: Versions that what is required may not leave.
    """

    name: str
    script: str
    environment: str
    requires: tuple[str, ...]
    constraints: tuple[str, ...] = ()


_PPQ = ("ppq==0.6.6", "onnx==1.16.2", "protobuf==3.20.3", "onnxruntime", "torch", "numpy<2")
_ESP_PPQ = ("esp-ppq==1.3.12", "onnx<1.20", "onnxruntime", "torch")
PEERS = (
    Peer("qdq_loss_debug", "qdq_loss_debug", "onnxruntime", ("onnxruntime==1.32.0", "onnx==1.23.2", "numpy==2.4.6")),
    Peer(
        "polygraphy",
        "polygraphy_run",
        "polygraphy",
        ("polygraphy==0.53.6", "onnxruntime==1.32.0", "onnx==1.23.2", "numpy==2.4.6"),
    ),
    Peer("ppq-graphwise", "ppq_graphwise", "ppq", _PPQ, (WITHOUT_CUDA,)),
    Peer("ppq-layerwise", "ppq_layerwise", "ppq", _PPQ, (WITHOUT_CUDA,)),
    Peer("esp-ppq-graphwise", "esp_ppq_graphwise", "esp-ppq", _ESP_PPQ, (WITHOUT_CUDA,)),
    Peer("esp-ppq-layerwise", "esp_ppq_layerwise", "esp-ppq", _ESP_PPQ, (WITHOUT_CUDA,)),
    Peer("aimet", "aimet_layers", "aimet", ("aimet-onnx==2.42.0",), (WITHOUT_CUDA,)),
)
