"""Layer messages before the current format: V1 (`layers {}`) and V0 (`layers { layer {} }`).

Layer types with a negative number were never in BVLC Caffe; text files of forks use them by name.
"""

MESSAGES = """
V1LayerParameter
    layer 1 V0LayerParameter; bottom 2 string*; top 3 string*; name 4 string; type 5 LayerType; blobs 6
    BlobProto*; blobs_lr 7 float*; weight_decay 8 float*; concat_param 9 ConcatParameter;
    convolution_param 10 ConvolutionParameter; data_param 11 DataParameter; dropout_param 12
    DropoutParameter; hdf5_data_param 13 HDF5DataParameter; hdf5_output_param 14 HDF5OutputParameter;
    image_data_param 15 ImageDataParameter; infogain_loss_param 16 InfogainLossParameter;
    inner_product_param 17 InnerProductParameter; lrn_param 18 LRNParameter; pooling_param 19
    PoolingParameter; window_data_param 20 WindowDataParameter; power_param 21 PowerParameter;
    memory_data_param 22 MemoryDataParameter; argmax_param 23 ArgMaxParameter; eltwise_param 24
    EltwiseParameter; threshold_param 25 ThresholdParameter; dummy_data_param 26 DummyDataParameter;
    accuracy_param 27 AccuracyParameter; hinge_loss_param 29 HingeLossParameter; relu_param 30
    ReLUParameter; slice_param 31 SliceParameter; include 32 NetStateRule*; exclude 33 NetStateRule*;
    mvn_param 34 MVNParameter; loss_weight 35 float*; transform_param 36 TransformationParameter;
    tanh_param 37 TanHParameter; sigmoid_param 38 SigmoidParameter; softmax_param 39 SoftmaxParameter;
    contrastive_loss_param 40 ContrastiveLossParameter; exp_param 41 ExpParameter; loss_param 42
    LossParameter; param 1001 string*; blob_share_mode 1002 DimCheckMode*; enum LayerType=NONE:0
    ABSVAL:35 ACCURACY:1 ARGMAX:30 BNLL:2 CONCAT:3 CONTRASTIVE_LOSS:37 CONVOLUTION:4 DATA:5
    DECONVOLUTION:39 DROPOUT:6 DUMMY_DATA:32 EUCLIDEAN_LOSS:7 ELTWISE:25 EXP:38 FLATTEN:8 HDF5_DATA:9
    HDF5_OUTPUT:10 HINGE_LOSS:28 IM2COL:11 IMAGE_DATA:12 INFOGAIN_LOSS:13 INNER_PRODUCT:14 LRN:15
    MEMORY_DATA:29 MULTINOMIAL_LOGISTIC_LOSS:16 MVN:34 POOLING:17 POWER:26 RELU:18 SIGMOID:19
    SIGMOID_CROSS_ENTROPY_LOSS:27 SILENCE:36 SOFTMAX:20 SOFTMAX_LOSS:21 SPLIT:22 SLICE:33 TANH:23
    WINDOW_DATA:24 THRESHOLD:31 LOCAL:-1 RESHAPE:-2 UPSAMPLE:-3 INTERP:-4 BN:-5
    PRELU:-6 QUANT:-7; enum DimCheckMode=STRICT:0 PERMISSIVE:1
V0LayerParameter
    name 1 string; type 2 string; num_output 3 uint32; biasterm 4 bool=true; weight_filler 5
    FillerParameter; bias_filler 6 FillerParameter; pad 7 uint32=0; kernelsize 8 uint32; group 9
    uint32=1; stride 10 uint32=1; pool 11 PoolMethod=MAX; dropout_ratio 12 float=0.5; local_size 13
    uint32=5; alpha 14 float=1; beta 15 float=0.75; source 16 string; scale 17 float=1; meanfile 18
    string; batchsize 19 uint32; cropsize 20 uint32=0; mirror 21 bool=false; k 22 float=1; blobs 50
    BlobProto*; blobs_lr 51 float*; weight_decay 52 float*; rand_skip 53 uint32=0; det_fg_threshold 54
    float=0.5; det_bg_threshold 55 float=0.5; det_fg_fraction 56 float=0.25; det_context_pad 58
    uint32=0; det_crop_mode 59 string=warp; new_num 60 int32=0; new_channels 61 int32=0; new_height 62
    int32=0; new_width 63 int32=0; shuffle_images 64 bool=false; concat_dim 65 uint32=1;
    hdf5_output_param 1001 HDF5OutputParameter; enum PoolMethod=MAX:0 AVE:1 STOCHASTIC:2
"""
