"""One file a family of Caffe layers: how each becomes ONNX nodes."""
