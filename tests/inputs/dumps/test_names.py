"""What names of files say."""

from __future__ import annotations

import pytest

from gfpq_inspect.inputs.dumps.names import Encoding, Role, parse_file_name

CODES, FIXED, TEXT, NUMPY = Encoding.CODES, Encoding.FIXED_POINT, Encoding.FLOAT_TEXT, Encoding.NUMPY


@pytest.mark.parametrize(
    ("name", "layer", "role", "port", "shape", "encoding", "tool"),
    [
        ("Softmax_43_output0_2_1_1_quant.linear.hex", "Softmax_43", "output", 0, (2, 1, 1), FIXED, "mapper"),
        ("conv1_input0_3_224_224_quant.nonlinear.hex", "conv1", "input", 0, (3, 224, 224), CODES, "mapper"),
        ("conv1_input2_3_4_5_anti_quant.linear.float", "conv1", "input", 2, (3, 4, 5), TEXT, "mapper"),
        ("conv1_input2_3_4_5_quant.linear.float", "conv1", "input", 2, (3, 4, 5), TEXT, "mapper"),
        ("a_b_output3_output1_2_3_4_quant.linear.hex", "a_b_output3", "output", 1, (2, 3, 4), FIXED, "mapper"),
        ("data_output0_1_28_28_caffe.linear.float", "data", "output", 0, (1, 28, 28), TEXT, "caffe"),
        ("conv2_3x3_64_7_7_caffe.linear.float", "conv2_3x3", "output", 0, (64, 7, 7), TEXT, "caffe"),
        ("CONV1_OUTPUT0_1_2_3_QUANT.LINEAR.HEX", "CONV1_OUTPUT0_1_2_3", "output", 0, None, FIXED, "mapper"),
        ("conv1_output0_inst.linear.hex", "conv1", "output", 0, None, FIXED, "board"),
        ("fc8.npy", "fc8", "output", 0, None, NUMPY, "numpy"),
        ("slice_output1.npy", "slice", "output", 1, None, NUMPY, "numpy"),
        ("res2a_2_3_4.npy", "res2a_2_3_4", "output", 0, None, NUMPY, "numpy"),
        ("conv1_output0_0_3_4_quant.linear.hex", "conv1", "output", 0, None, FIXED, "mapper"),
        ("fc.txt", "fc", "output", 0, None, TEXT, "text"),
        ("ünï_output0_1_2_3_quant.linear.hex", "ünï", "output", 0, (1, 2, 3), FIXED, "mapper"),
    ],
)
def test_names(  # noqa: PLR0917  (a table)
    name: str, layer: str, role: str, port: int, shape: tuple[int, int, int] | None, encoding: Encoding, tool: str
) -> None:
    said = parse_file_name(name)
    assert said is not None
    assert (said.layer, said.role.value, said.port, said.shape) == (layer, role, port, shape)
    assert (said.encoding, said.tool, said.place) == (encoding, tool, None)


def test_numbers_instead_of_names() -> None:
    said = parse_file_name("seg1_layer38_output2_inst.linear.hex")
    assert said is not None
    assert (said.place, said.port, said.layer, said.encoding) == ((1, 38), 2, "", Encoding.FIXED_POINT)


@pytest.mark.parametrize(
    "name", ["conv1_weight.hex", "conv1_weight-anti.float", "conv1_bias.hex", "conv1_conv_fold_blob0_weight.float"]
)
def test_parameters(name: str) -> None:
    said = parse_file_name(name)
    assert said is not None
    assert said.role is Role.PARAMETER
    assert said.layer in ("conv1", "conv1_conv_fold")


@pytest.mark.parametrize("name", ["mapper_debug.log", "cnn_net_tree_1.dot", "nnie_sim.ini", ".npy", "README", "a.wk"])
def test_other_files(name: str) -> None:
    assert parse_file_name(name) is None
