"""Messages of BVLC Caffe, in the notation that `gfpq_inspect.models.caffe.schema` reads."""

MESSAGES = """
NetParameter
    name 1 string; layers 2 V1LayerParameter*; input 3 string*; input_dim 4 int32*; force_backward 5
    bool=false; state 6 NetState; debug_info 7 bool=false; input_shape 8 BlobShape*; layer 100
    LayerParameter*
NetState
    phase 1 Phase=TEST; level 2 int32=0; stage 3 string*
NetStateRule
    phase 1 Phase; min_level 2 int32; max_level 3 int32; stage 4 string*; not_stage 5 string*
ParamSpec
    name 1 string; share_mode 2 DimCheckMode; lr_mult 3 float=1; decay_mult 4 float=1; enum
    DimCheckMode=STRICT:0 PERMISSIVE:1
BlobShape
    dim 1 int64*
BlobProto
    num 1 int32=0; channels 2 int32=0; height 3 int32=0; width 4 int32=0; data 5 float*; diff 6 float*;
    shape 7 BlobShape; double_data 8 double*; double_diff 9 double*
BlobProtoVector
    blobs 1 BlobProto*
Datum
    channels 1 int32; height 2 int32; width 3 int32; data 4 bytes; label 5 int32; float_data 6 float*;
    encoded 7 bool=false
FillerParameter
    type 1 string=constant; value 2 float=0; min 3 float=0; max 4 float=1; mean 5 float=0; std 6
    float=1; sparse 7 int32=-1; variance_norm 8 VarianceNorm=FAN_IN; enum VarianceNorm=FAN_IN:0
    FAN_OUT:1 AVERAGE:2
LayerParameter
    name 1 string; type 2 string; bottom 3 string*; top 4 string*; loss_weight 5 float*; param 6
    ParamSpec*; blobs 7 BlobProto*; include 8 NetStateRule*; exclude 9 NetStateRule*; phase 10 Phase;
    propagate_down 11 bool*; transform_param 100 TransformationParameter; loss_param 101 LossParameter;
    accuracy_param 102 AccuracyParameter; argmax_param 103 ArgMaxParameter; concat_param 104
    ConcatParameter; contrastive_loss_param 105 ContrastiveLossParameter; convolution_param 106
    ConvolutionParameter; data_param 107 DataParameter; dropout_param 108 DropoutParameter;
    dummy_data_param 109 DummyDataParameter; eltwise_param 110 EltwiseParameter; exp_param 111
    ExpParameter; hdf5_data_param 112 HDF5DataParameter; hdf5_output_param 113 HDF5OutputParameter;
    hinge_loss_param 114 HingeLossParameter; image_data_param 115 ImageDataParameter;
    infogain_loss_param 116 InfogainLossParameter; inner_product_param 117 InnerProductParameter;
    lrn_param 118 LRNParameter; memory_data_param 119 MemoryDataParameter; mvn_param 120 MVNParameter;
    pooling_param 121 PoolingParameter; power_param 122 PowerParameter; relu_param 123 ReLUParameter;
    sigmoid_param 124 SigmoidParameter; softmax_param 125 SoftmaxParameter; slice_param 126
    SliceParameter; tanh_param 127 TanHParameter; threshold_param 128 ThresholdParameter;
    window_data_param 129 WindowDataParameter; python_param 130 PythonParameter; prelu_param 131
    PReLUParameter; spp_param 132 SPPParameter; reshape_param 133 ReshapeParameter; log_param 134
    LogParameter; flatten_param 135 FlattenParameter; reduction_param 136 ReductionParameter;
    embed_param 137 EmbedParameter; tile_param 138 TileParameter; batch_norm_param 139
    BatchNormParameter; elu_param 140 ELUParameter; bias_param 141 BiasParameter; scale_param 142
    ScaleParameter; input_param 143 InputParameter; crop_param 144 CropParameter; parameter_param 145
    ParameterParameter; recurrent_param 146 RecurrentParameter; swish_param 147 SwishParameter;
    clip_param 148 ClipParameter
AccuracyParameter
    top_k 1 uint32=1; axis 2 int32=1; ignore_label 3 int32
ArgMaxParameter
    out_max_val 1 bool=false; top_k 2 uint32=1; axis 3 int32
BatchNormParameter
    use_global_stats 1 bool; moving_average_fraction 2 float=0.999000013; eps 3 float=9.99999975e-06
BiasParameter
    axis 1 int32=1; num_axes 2 int32=1; filler 3 FillerParameter
ClipParameter
    min 1 float!; max 2 float!
ConcatParameter
    concat_dim 1 uint32=1; axis 2 int32=1
ContrastiveLossParameter
    margin 1 float=1; legacy_version 2 bool=false
ConvolutionParameter
    num_output 1 uint32; bias_term 2 bool=true; pad 3 uint32*; kernel_size 4 uint32*; group 5 uint32=1;
    stride 6 uint32*; weight_filler 7 FillerParameter; bias_filler 8 FillerParameter; pad_h 9 uint32=0;
    pad_w 10 uint32=0; kernel_h 11 uint32; kernel_w 12 uint32; stride_h 13 uint32; stride_w 14 uint32;
    engine 15 Engine=DEFAULT; axis 16 int32=1; force_nd_im2col 17 bool=false; dilation 18 uint32*; enum
    Engine=DEFAULT:0 CAFFE:1 CUDNN:2
CropParameter
    axis 1 int32=2; offset 2 uint32*
DataParameter
    source 1 string; scale 2 float=1; mean_file 3 string; batch_size 4 uint32; crop_size 5 uint32=0;
    mirror 6 bool=false; rand_skip 7 uint32=0; backend 8 DB=LEVELDB; force_encoded_color 9 bool=false;
    prefetch 10 uint32=4; enum DB=LEVELDB:0 LMDB:1
DropoutParameter
    dropout_ratio 1 float=0.5
DummyDataParameter
    data_filler 1 FillerParameter*; num 2 uint32*; channels 3 uint32*; height 4 uint32*; width 5
    uint32*; shape 6 BlobShape*
ELUParameter
    alpha 1 float=1
EltwiseParameter
    operation 1 EltwiseOp=SUM; coeff 2 float*; stable_prod_grad 3 bool=true; enum EltwiseOp=PROD:0 SUM:1
    MAX:2
EmbedParameter
    num_output 1 uint32; input_dim 2 uint32; bias_term 3 bool=true; weight_filler 4 FillerParameter;
    bias_filler 5 FillerParameter
ExpParameter
    base 1 float=-1; scale 2 float=1; shift 3 float=0
FlattenParameter
    axis 1 int32=1; end_axis 2 int32=-1
HDF5DataParameter
    source 1 string; batch_size 2 uint32; shuffle 3 bool=false
HDF5OutputParameter
    file_name 1 string
HingeLossParameter
    norm 1 Norm=L1; enum Norm=L1:1 L2:2
ImageDataParameter
    source 1 string; scale 2 float=1; mean_file 3 string; batch_size 4 uint32=1; crop_size 5 uint32=0;
    mirror 6 bool=false; rand_skip 7 uint32=0; shuffle 8 bool=false; new_height 9 uint32=0; new_width 10
    uint32=0; is_color 11 bool=true; root_folder 12 string
InfogainLossParameter
    source 1 string; axis 2 int32=1
InnerProductParameter
    num_output 1 uint32; bias_term 2 bool=true; weight_filler 3 FillerParameter; bias_filler 4
    FillerParameter; axis 5 int32=1; transpose 6 bool=false
InputParameter
    shape 1 BlobShape*
LRNParameter
    local_size 1 uint32=5; alpha 2 float=1; beta 3 float=0.75; norm_region 4 NormRegion=ACROSS_CHANNELS;
    k 5 float=1; engine 6 Engine=DEFAULT; enum NormRegion=ACROSS_CHANNELS:0 WITHIN_CHANNEL:1; enum
    Engine=DEFAULT:0 CAFFE:1 CUDNN:2
LogParameter
    base 1 float=-1; scale 2 float=1; shift 3 float=0
LossParameter
    ignore_label 1 int32; normalize 2 bool; normalization 3 NormalizationMode=VALID; enum
    NormalizationMode=FULL:0 VALID:1 BATCH_SIZE:2 NONE:3
MVNParameter
    normalize_variance 1 bool=true; across_channels 2 bool=false; eps 3 float=9.99999972e-10
MemoryDataParameter
    batch_size 1 uint32; channels 2 uint32; height 3 uint32; width 4 uint32
PReLUParameter
    filler 1 FillerParameter; channel_shared 2 bool=false
ParameterParameter
    shape 1 BlobShape
PoolingParameter
    pool 1 PoolMethod=MAX; kernel_size 2 uint32; stride 3 uint32=1; pad 4 uint32=0; kernel_h 5 uint32;
    kernel_w 6 uint32; stride_h 7 uint32; stride_w 8 uint32; pad_h 9 uint32=0; pad_w 10 uint32=0; engine
    11 Engine=DEFAULT; global_pooling 12 bool=false; round_mode 13 RoundMode=CEIL; enum PoolMethod=MAX:0
    AVE:1 STOCHASTIC:2; enum Engine=DEFAULT:0 CAFFE:1 CUDNN:2; enum RoundMode=CEIL:0 FLOOR:1
PowerParameter
    power 1 float=1; scale 2 float=1; shift 3 float=0
PythonParameter
    module 1 string; layer 2 string; param_str 3 string; share_in_parallel 4 bool=false
ReLUParameter
    negative_slope 1 float=0; engine 2 Engine=DEFAULT; enum Engine=DEFAULT:0 CAFFE:1 CUDNN:2
RecurrentParameter
    num_output 1 uint32=0; weight_filler 2 FillerParameter; bias_filler 3 FillerParameter; debug_info 4
    bool=false; expose_hidden 5 bool=false
ReductionParameter
    operation 1 ReductionOp=SUM; axis 2 int32=0; coeff 3 float=1; enum ReductionOp=SUM:1 ASUM:2 SUMSQ:3
    MEAN:4
ReshapeParameter
    shape 1 BlobShape; axis 2 int32=0; num_axes 3 int32=-1
SPPParameter
    pyramid_height 1 uint32; pool 2 PoolMethod=MAX; engine 6 Engine=DEFAULT; enum PoolMethod=MAX:0 AVE:1
    STOCHASTIC:2; enum Engine=DEFAULT:0 CAFFE:1 CUDNN:2
ScaleParameter
    axis 1 int32=1; num_axes 2 int32=1; filler 3 FillerParameter; bias_term 4 bool=false; bias_filler 5
    FillerParameter
SigmoidParameter
    engine 1 Engine=DEFAULT; enum Engine=DEFAULT:0 CAFFE:1 CUDNN:2
SliceParameter
    slice_dim 1 uint32=1; slice_point 2 uint32*; axis 3 int32=1
SoftmaxParameter
    engine 1 Engine=DEFAULT; axis 2 int32=1; enum Engine=DEFAULT:0 CAFFE:1 CUDNN:2
SwishParameter
    beta 1 float=1
TanHParameter
    engine 1 Engine=DEFAULT; enum Engine=DEFAULT:0 CAFFE:1 CUDNN:2
ThresholdParameter
    threshold 1 float=0
TileParameter
    axis 1 int32=1; tiles 2 int32
TransformationParameter
    scale 1 float=1; mirror 2 bool=false; crop_size 3 uint32=0; mean_file 4 string; mean_value 5 float*;
    force_color 6 bool=false; force_gray 7 bool=false
WindowDataParameter
    source 1 string; scale 2 float=1; mean_file 3 string; batch_size 4 uint32; crop_size 5 uint32=0;
    mirror 6 bool=false; fg_threshold 7 float=0.5; bg_threshold 8 float=0.5; fg_fraction 9 float=0.25;
    context_pad 10 uint32=0; crop_mode 11 string=warp; cache_images 12 bool=false; root_folder 13 string
"""

TOP_LEVEL_ENUMS = """
enum Phase=TRAIN:0 TEST:1
"""
