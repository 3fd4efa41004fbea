"""ONNX front end: any model that ONNX Runtime runs, one layer a node."""
