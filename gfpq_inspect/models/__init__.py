"""What a network is: an ONNX graph with a table of layers, and the readers that make one."""
