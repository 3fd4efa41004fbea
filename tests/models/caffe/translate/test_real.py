"""Real networks end to end against real Caffe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.models.caffe.network import read_network
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.run import run_model

from .agreement import Agreement, real_tops

NETWORKS = {
    "cifar10_full_v1": "cifar10_full_v1/cifar10_full cifar10_full_v1/cifar10_full_iter_70000",
    "lenet_mnist_v1": "lenet_mnist_v1/lenet lenet_mnist_v1/lenet_iter_10000",
    "lenet_mnist_v2": "lenet_mnist_v2/mnist_deploy lenet_mnist_v2/lenet_iter_10000",
    "mtcnn_det1": "mtcnn/det1 mtcnn/det1",
    "mtcnn_det2": "mtcnn/det2 mtcnn/det2",
    "mtcnn_det3": "mtcnn/det3 mtcnn/det3",
    "mtcnn_det4": "mtcnn/det4 mtcnn/det4",
    "opennsfw_resnet50_1by2": "opennsfw_resnet50_1by2/deploy opennsfw_resnet50_1by2/resnet_50_1by2_nsfw",
    "retinaface_mnet25": "retinaface_mnet25/mnet retinaface_mnet25/mnet",
    "ssd_res10_face": "ssd_res10_face/deploy ssd_res10_face/res10_300x300_ssd_iter_140000",
    "ultraface_slim_320": "ultraface_slim_320/slim-320 ultraface_slim_320/slim-320",
    "wechat_qr_detect": "wechat_qr_detect/detect wechat_qr_detect/detect",
    "wechat_qr_sr": "wechat_qr_sr/sr wechat_qr_sr/sr",
}
SAMPLE = 1e-5
"""Allowed error of a value relative to its top's largest magnitude."""


def build(shared: Path, name: str, shape: tuple[int, ...]) -> Model:
    structure, weights = (shared / "models" / part for part in NETWORKS[name].split())
    network = read_network(weights.with_suffix(".caffemodel"), structure.with_suffix(".prototxt"))
    return network.build({network.declared_inputs[0].name: shape})


@pytest.mark.shared
@pytest.mark.parametrize("name", NETWORKS)
def test_every_top_agrees_end_to_end(name, shared, capsys):
    archive = np.load(shared / "golden" / "caffe" / "real" / f"{name}.npz")
    model = build(shared, name, archive["input"].shape)
    made = run_model(model, {model.inputs[0].name: archive["input"]})
    agreement = Agreement(name)
    for top in real_tops(archive):
        value = made[top.key]
        assert value.shape == top.shape, top.key
        sample = value.ravel()[:: top.step][:256]
        error = float(np.abs(sample - top.sample).max() / max(top.largest, 1e-30))
        agreement.tops += 1
        agreement.exact += np.array_equal(sample, top.sample)
        if error > agreement.worst:
            agreement.worst, agreement.where = error, top.key
        assert error <= SAMPLE, top.key
        exact = value.astype(np.float64)
        norm = float(np.sqrt((exact**2).sum()))
        assert norm == pytest.approx(top.norm, rel=1e-5), top.key
        assert abs(exact.sum() - top.total) <= 1e-5 * np.sqrt(value.size) * top.norm, top.key
    with capsys.disabled():
        print(f"\n  {agreement}", end="")


@pytest.mark.shared
@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_gives_what_its_samples_give_alone(name, shared):
    """Where a model claims to be batchable, three samples together equal each alone."""
    archive = np.load(shared / "golden" / "caffe" / "real" / f"{name}.npz")
    shape = (1, *archive["input"].shape[1:])
    alone = build(shared, name, shape)
    if not alone.batchable:
        pytest.skip("this network mixes samples or fixes the batch size")
    together = build(shared, name, (3, *shape[1:]))
    first = archive["input"][:1]
    batch = np.concatenate([first, first[..., ::-1], first * np.float32(0.5)])
    made = run_model(together, {together.inputs[0].name: batch})
    for index in range(3):
        single = run_model(alone, {alone.inputs[0].name: np.ascontiguousarray(batch[index : index + 1])})
        for value in alone.outputs:
            np.testing.assert_allclose(made[value][index : index + 1], single[value], rtol=1e-5, atol=1e-6)
