"""One file a family of Caffe layers: how each becomes ONNX nodes.

`translate(net, input_shapes)` turns a `Net` into a `Model`. A layer type is one function in the file of its family:

    convolution    Convolution, Deconvolution, depthwise spellings, Im2col
    pooling        Pooling, SPP
    normalisation  BatchNorm, Scale, Bias, BN, LRN, MVN, Normalize
    neurons        ReLU and everything else that works element by element
    combine        Eltwise, Concat, Slice, Crop, Axpy, MatMul, ...
    shape          Reshape, Flatten, Permute, Tile, ShuffleChannel, Reorg, ...
    resize         Upsample, Interp, unpooling
    reduction      Softmax, Reduction, ArgMax
    dense          InnerProduct, Embed
    recurrent      LSTM, RNN
    detection      PriorBox, DetectionOutput, ROI pooling
    losses         losses and accuracies, where they were kept
    quant, data    NNIE's Quant; Parameter, DummyData
"""

from gfpq_inspect.models.caffe.translate.network import translate

__all__ = ["translate"]
