"""Caffe front end: text, binary, upgrades, net building, translation to ONNX."""
