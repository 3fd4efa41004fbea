"""Messages of other forks, matched by name in text files only; number 0 means "never taken from a binary".

Where forks disagree about a message of one name, the table holds the union; the layer tells them apart.
The one exception is `quant_param` 4917: our own addition, documented in native/caffe.
"""

MESSAGES = """
LayerParameter+
    quant_param 4917 QuantParameter; upsample_param 0 UpsampleParameter; interp_param 0 InterpParameter;
    shuffle_channel_param 0 ShuffleChannelParameter; relu6_param 0 ReLU6Parameter; bn_param 0 BNParameter;
    roi_pooling_param 0 ROIPoolingParameter; psroi_pooling_param 0 PSROIPoolingParameter;
    roi_align_param 0 ROIAlignParameter; proposal_param 0 ProposalParameter; reorg_param 0 ReorgParameter;
    pass_through_param 0 PassThroughParameter; hardsigmoid_param 0 HardSigmoidParameter;
    unsqueeze_param 0 UnsqueezeParameter; pad_param 0 PadParameter; max_unpool_param 0
    MaxUnpoolParameter; pixelshuffle_param 0 PixelShuffleParameter; reverse_param 0 ReverseParameter;
    crop_center_param 0 CropCenterParameter; custom_param 0 CustomParameter; rrelu_param 0
    RReLUParameter; matmul_param 0 MatMulParameter
QuantParameter
    quant_bits 1 uint32=8; quant_en 2 bool=true
UpsampleParameter
    scale 1 float=1; stride 2 int32=2; stride_h 3 int32=2; stride_w 4 int32=2; scale_h 0 uint32;
    scale_w 0 uint32; pad_out_h 0 bool=false; pad_out_w 0 bool=false; upsample_h 0 uint32;
    upsample_w 0 uint32
InterpParameter
    height 1 int32=0; width 2 int32=0; zoom_factor 3 int32=1; shrink_factor 4 int32=1; pad_beg 5
    int32=0; pad_end 6 int32=0
ShuffleChannelParameter
    group 1 uint32=1
ReLU6Parameter
    negative_slope 1 float=0; threshold 2 float=6
BNParameter
    slope_filler 1 FillerParameter; bias_filler 2 FillerParameter; momentum 3 float=0.9; eps 4
    float=1e-5; frozen 5 bool=false; engine 6 Engine=DEFAULT; scale_filler 0 FillerParameter; shift_filler
    0 FillerParameter; bn_mode 0 BNMode=LEARN; enum Engine=DEFAULT:0 CAFFE:1 CUDNN:2; enum BNMode=LEARN:0
    INFERENCE:1
ROIPoolingParameter
    pooled_h 1 uint32=0; pooled_w 2 uint32=0; spatial_scale 3 float=1
PSROIPoolingParameter
    spatial_scale 1 float!; output_dim 2 int32!; group_size 3 int32!
ROIAlignParameter
    pooled_h 1 uint32=0; pooled_w 2 uint32=0; spatial_scale 3 float=1; sampling_ratio 4 int32=-1;
    roi_end_mode 5 int32=0
ProposalParameter
    feat_stride 1 uint32=16; base_size 2 uint32=16; min_size 3 uint32=16; ratio 4 float*; scale 5
    float*; pre_nms_topn 6 uint32=6000; post_nms_topn 7 uint32=300; nms_thresh 8 float=0.7
ReorgParameter
    reverse 1 bool=false; stride 2 uint32=2
PassThroughParameter
    num_output 1 uint32=0; block_height 2 uint32=0; block_width 3 uint32=0
HardSigmoidParameter
    alpha 1 float=0.2; beta 2 float=0.5
UnsqueezeParameter
    dim 1 int32!
PadParameter
    pad_type 1 PadType=CONSTANT; pad_u 2 int32=0; pad_d 3 int32=0; pad_l 4 int32=0; pad_r 5 int32=0;
    pad_value 6 float=0; enum PadType=CONSTANT:0 REPLICATE:1 REFLECT:2
MaxUnpoolParameter
    dst_h 1 int32; dst_w 2 int32
PixelShuffleParameter
    upscale_factor 1 int32!
ReverseParameter
    axis 1 int32*
CropCenterParameter
    crop_size 0 int32*
CustomParameter
    shape 0 BlobShape*
RReLUParameter
    lower 0 float=0.125; upper 0 float=0.33333334
MatMulParameter
    dim_1 0 int32; dim_2 0 int32; dim_3 0 int32
PoolingParameter+
    ceil_mode 0 bool=true
DropoutParameter+
    scale_train 0 bool=true
DetectionOutputParameter+
    clip 0 bool=false
"""
