"""The merged engine: all lanes in one ONNX graph, with operators of our own between the layers."""
