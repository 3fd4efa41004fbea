"""Messages that the SSD fork adds, and what it adds to shared ones (a `+` after the message name)."""

MESSAGES = """
LayerParameter+
    annotated_data_param 200 AnnotatedDataParameter; multibox_loss_param 201 MultiBoxLossParameter;
    permute_param 202 PermuteParameter; prior_box_param 203 PriorBoxParameter;
    detection_output_param 204 DetectionOutputParameter; detection_evaluate_param 205
    DetectionEvaluateParameter; norm_param 206 NormalizeParameter; video_data_param 207
    VideoDataParameter
TransformationParameter+
    resize_param 8 ResizeParameter; noise_param 9 NoiseParameter; emit_constraint 10 EmitConstraint;
    crop_h 11 uint32=0; crop_w 12 uint32=0; distort_param 13 DistortionParameter; expand_param 14
    ExpansionParameter
PermuteParameter
    order 1 uint32*
NormalizeParameter
    across_spatial 1 bool=true; scale_filler 2 FillerParameter; channel_shared 3 bool=true; eps 4
    float=1.00000001e-10
PriorBoxParameter
    min_size 1 float*; max_size 2 float*; aspect_ratio 3 float*; flip 4 bool=true; clip 5 bool=false;
    variance 6 float*; img_size 7 uint32; img_h 8 uint32; img_w 9 uint32; step 10 float; step_h 11
    float; step_w 12 float; offset 13 float=0.5; enum CodeType=CORNER:1 CENTER_SIZE:2 CORNER_SIZE:3
DetectionOutputParameter
    num_classes 1 uint32; share_location 2 bool=true; background_label_id 3 int32=0; nms_param 4
    NonMaximumSuppressionParameter; save_output_param 5 SaveOutputParameter; code_type 6
    CodeType=CORNER; keep_top_k 7 int32=-1; variance_encoded_in_target 8 bool=false;
    confidence_threshold 9 float; visualize 10 bool=false; visualize_threshold 11 float; save_file 12
    string
NonMaximumSuppressionParameter
    nms_threshold 1 float=0.300000012; top_k 2 int32; eta 3 float=1
SaveOutputParameter
    output_directory 1 string; output_name_prefix 2 string; output_format 3 string; label_map_file 4
    string; name_size_file 5 string; num_test_image 6 uint32; resize_param 7 ResizeParameter
DetectionEvaluateParameter
    num_classes 1 uint32; background_label_id 2 uint32=0; overlap_threshold 3 float=0.5;
    evaluate_difficult_gt 4 bool=true; name_size_file 5 string; resize_param 6 ResizeParameter
MultiBoxLossParameter
    loc_loss_type 1 LocLossType=SMOOTH_L1; conf_loss_type 2 ConfLossType=SOFTMAX; loc_weight 3 float=1;
    num_classes 4 uint32; share_location 5 bool=true; match_type 6 MatchType=PER_PREDICTION;
    overlap_threshold 7 float=0.5; use_prior_for_matching 8 bool=true; background_label_id 9 uint32=0;
    use_difficult_gt 10 bool=true; do_neg_mining 11 bool; neg_pos_ratio 12 float=3; neg_overlap 13
    float=0.5; code_type 14 CodeType=CORNER; encode_variance_in_target 16 bool=false;
    map_object_to_agnostic 17 bool=false; ignore_cross_boundary_bbox 18 bool=false; bp_inside 19
    bool=false; mining_type 20 MiningType=MAX_NEGATIVE; nms_param 21 NonMaximumSuppressionParameter;
    sample_size 22 int32=64; use_prior_for_nms 23 bool=false; enum LocLossType=L2:0 SMOOTH_L1:1; enum
    ConfLossType=SOFTMAX:0 LOGISTIC:1; enum MatchType=BIPARTITE:0 PER_PREDICTION:1; enum
    MiningType=NONE:0 MAX_NEGATIVE:1 HARD_EXAMPLE:2
ResizeParameter
    prob 1 float=1; resize_mode 2 Resize_mode=WARP; height 3 uint32=0; width 4 uint32=0; pad_mode 5
    Pad_mode=CONSTANT; pad_value 6 float*; interp_mode 7 Interp_mode*; height_scale 8 uint32=0;
    width_scale 9 uint32=0; enum Resize_mode=WARP:1 FIT_SMALL_SIZE:2 FIT_LARGE_SIZE_AND_PAD:3; enum
    Pad_mode=CONSTANT:1 MIRRORED:2 REPEAT_NEAREST:3; enum Interp_mode=LINEAR:1 AREA:2 NEAREST:3 CUBIC:4
    LANCZOS4:5
NoiseParameter
    prob 1 float=0; hist_eq 2 bool=false; inverse 3 bool=false; decolorize 4 bool=false; gauss_blur 5
    bool=false; jpeg 6 float=-1; posterize 7 bool=false; erode 8 bool=false; saltpepper 9 bool=false;
    saltpepper_param 10 SaltPepperParameter; clahe 11 bool=false; convert_to_hsv 12 bool=false;
    convert_to_lab 13 bool=false
SaltPepperParameter
    fraction 1 float=0; value 2 float*
DistortionParameter
    brightness_prob 1 float=0; brightness_delta 2 float=0; contrast_prob 3 float=0; contrast_lower 4
    float=0; contrast_upper 5 float=0; hue_prob 6 float=0; hue_delta 7 float=0; saturation_prob 8
    float=0; saturation_lower 9 float=0; saturation_upper 10 float=0; random_order_prob 11 float=0
ExpansionParameter
    prob 1 float=1; max_expand_ratio 2 float=1
EmitConstraint
    emit_type 1 EmitType=CENTER; emit_overlap 2 float; enum EmitType=CENTER:0 MIN_OVERLAP:1
AnnotatedDataParameter
    batch_sampler 1 BatchSampler*; label_map_file 2 string; anno_type 3 AnnotationType
BatchSampler
    use_original_image 1 bool=true; sampler 2 Sampler; sample_constraint 3 SampleConstraint; max_sample
    4 uint32; max_trials 5 uint32=100
Sampler
    min_scale 1 float=1; max_scale 2 float=1; min_aspect_ratio 3 float=1; max_aspect_ratio 4 float=1
SampleConstraint
    min_jaccard_overlap 1 float; max_jaccard_overlap 2 float; min_sample_coverage 3 float;
    max_sample_coverage 4 float; min_object_coverage 5 float; max_object_coverage 6 float
VideoDataParameter
    video_type 1 VideoType=WEBCAM; device_id 2 int32=0; video_file 3 string; skip_frames 4 uint32=0;
    enum VideoType=WEBCAM:0 VIDEO:1
LabelMap
    item 1 LabelMapItem*
LabelMapItem
    name 1 string; label 2 int32; display_name 3 string
NormalizedBBox
    xmin 1 float; ymin 2 float; xmax 3 float; ymax 4 float; label 5 int32; difficult 6 bool; score 7
    float; size 8 float
Annotation
    instance_id 1 int32=0; bbox 2 NormalizedBBox
AnnotationGroup
    group_label 1 int32; annotation 2 Annotation*
AnnotatedDatum
    datum 1 Datum; type 2 AnnotationType; annotation_group 3 AnnotationGroup*; enum
    AnnotationType=BBOX:0
"""
