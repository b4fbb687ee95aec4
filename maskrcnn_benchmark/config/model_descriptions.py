"""What every key below MODEL means; see descriptions.py."""

_HEADS = {"ROI_BOX_HEAD": "box", "ROI_MASK_HEAD": "mask", "ROI_KEYPOINT_HEAD": "keypoint"}

MODEL_GROUPS: dict[str, str] = {
    "MODEL": "Which detector is built, where it runs, and the weights that it starts from.",
    "MODEL.BACKBONE": "The body that turns an image into feature maps.",
    "MODEL.RESNETS": "The layout of ResNet and ResNeXt bodies.",
    "MODEL.FPN": "The feature pyramid network on top of the body.",
    "MODEL.GROUP_NORM": "Group normalization, used where a key `USE_GN` is True or a block's name ends in `GN`.",
    "MODEL.NON_LOCAL": (
        "Context modules, which let each position of a feature map see all the others (Levi and Ullman 2019)."
    ),
    "MODEL.NON_LOCAL.BOTTOM_UP": "Context modules in the body, each before the last residual block of its stage.",
    "MODEL.NON_LOCAL.TOP_DOWN": (
        "Context modules in the top-down stream of the pyramid, each before the upsampling of its level."
    ),
    "MODEL.RPN": "The region proposal network: its anchors, its training and the proposals that it keeps.",
    "MODEL.ROI_HEADS": "What the heads share: which proposals they are trained on, and which detections are kept.",
    "MODEL.ROI_BOX_HEAD": "The head that classifies proposals and refines their boxes.",
    "MODEL.ROI_MASK_HEAD": "The head that predicts a mask for each detection (Mask R-CNN).",
    "MODEL.ROI_KEYPOINT_HEAD": "The head that predicts keypoints for each detection (Keypoint R-CNN).",
    "MODEL.RETINANET": "RetinaNet, a detector without proposals; read where `MODEL.RETINANET_ON` is True.",
    "MODEL.FBNET": "FBNet bodies and heads, made for phones; read where the body or a head is named `FBNet`.",
}

_COUNTS = "With a pyramid the number holds for each level."

MODEL_KEYS: dict[str, str] = {
    "MODEL.CLS_AGNOSTIC_BBOX_REG": "Predict one box for all classes instead of one box for each class.",
    "MODEL.COMPILE": (
        "Compile body and pyramid with torch.compile, for all image sizes at once: a slower start and faster steps."
    ),
    "MODEL.DEVICE": "The device to run on. `cuda` on a machine without a GPU ends with a sentence; use `cpu` there.",
    "MODEL.KEYPOINT_ON": "Build the keypoint head, train it and test it.",
    "MODEL.MASK_ON": "Build the mask head, train it and test it.",
    "MODEL.META_ARCHITECTURE": "The class of the detector, a name in `META_ARCHITECTURES` of modeling/registries.py.",
    "MODEL.RETINANET_ON": "Build RetinaNet in place of the RPN and the heads.",
    "MODEL.RPN_ONLY": "Train and test the region proposal network alone; the result is average recall.",
    "MODEL.WEIGHT": (
        "The weights that training starts from, and that are tested if OUTPUT_DIR holds no checkpoint: a file "
        "(.pth, or a .pkl of Detectron or detectron2), a URL, `catalog://NAME` of the model catalog, or "
        "`torchvision://MODEL`."
    ),
    "MODEL.WEIGHT_ALLOW_MISMATCH": (
        "Load a checkpoint in which some shapes differ, as with another number of classes: those weights keep "
        "their initialization."
    ),
    "MODEL.WEIGHT_ALLOW_MISSING": (
        "Test, predict and export although weights are missing: the missing ones are random, and so is what is "
        "detected."
    ),
    "MODEL.BACKBONE.CONV_BODY": (
        "The body, a name in `BACKBONES` of modeling/registries.py: `R-50-C4`, `R-50-FPN`, `R-101-FPN`, "
        "`R-50-FPN-RETINANET`, `FBNet` and others."
    ),
    "MODEL.BACKBONE.FREEZE_CONV_BODY_AT": (
        "How many parts of the body keep their weights, counted from the stem: 2 freezes the stem and the first "
        "stage, 0 freezes nothing."
    ),
    "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": (
        "Channels of the maps that the heads see: 1024 for C4 bodies, 256 with a pyramid."
    ),
    "MODEL.RESNETS.DEFORMABLE_GROUPS": "Groups of channels that share the offsets of a deformable convolution.",
    "MODEL.RESNETS.NUM_GROUPS": "Groups of the 3 x 3 convolutions: 1 for ResNet, 32 for ResNeXt-101-32x8d.",
    "MODEL.RESNETS.RES2_OUT_CHANNELS": "Channels of the first stage's output; each later stage has twice as many.",
    "MODEL.RESNETS.RES5_DILATION": "Dilation of the last stage; with 2 it keeps the resolution of the stage before.",
    "MODEL.RESNETS.STAGE_WITH_DCN": "Which of the four stages use deformable convolutions.",
    "MODEL.RESNETS.STEM_FUNC": "The stem: `StemWithFixedBatchNorm` or `StemWithGN`.",
    "MODEL.RESNETS.STEM_OUT_CHANNELS": "Channels of the stem's output.",
    "MODEL.RESNETS.STRIDE_IN_1X1": (
        "Where a stage halves the resolution: True in its first 1 x 1 convolution, as in MSRA's weights; False in "
        "the 3 x 3 convolution, as in torchvision's."
    ),
    "MODEL.RESNETS.TRANS_FUNC": "The residual block: `BottleneckWithFixedBatchNorm` or `BottleneckWithGN`.",
    "MODEL.RESNETS.WIDTH_PER_GROUP": "Channels of each group in the first stage's 3 x 3 convolutions.",
    "MODEL.RESNETS.WITH_MODULATED_DCN": (
        "Use modulated deformable convolutions (version 2) in the stages of STAGE_WITH_DCN."
    ),
    "MODEL.FPN.USE_GN": "Normalize the pyramid's convolutions by groups.",
    "MODEL.FPN.USE_RELU": "Put a ReLU behind the pyramid's convolutions.",
    "MODEL.GROUP_NORM.DIM_PER_GP": "Channels of each group; -1 to give NUM_GROUPS instead.",
    "MODEL.GROUP_NORM.EPSILON": "What is added to the variance before the division.",
    "MODEL.GROUP_NORM.NUM_GROUPS": "Number of groups; -1 to give DIM_PER_GP instead.",
    "MODEL.NON_LOCAL.BOTTOM_UP.TYPE": (
        "The module in the body: `enl`, `nl` (softmax attention), `nl_dot` (dot product), `linear_attention`, or "
        "a registered name; empty for none."
    ),
    "MODEL.NON_LOCAL.BOTTOM_UP.STAGES": "The stages of the body that get a module: `res2` to `res5`.",
    "MODEL.NON_LOCAL.TOP_DOWN.TYPE": (
        "The module in the top-down stream, by the same names; `enl` is the paper's. Empty for none."
    ),
    "MODEL.NON_LOCAL.TOP_DOWN.STAGES": (
        "The levels of the pyramid that get a module, by the stages of the body they come from."
    ),
    "MODEL.NON_LOCAL.POSITION": "The position term of ENL: `dct` for the low frequencies of the map, empty for none.",
    "MODEL.NON_LOCAL.DCT_SIZE": "Frequencies along each side of a map that the position term keeps.",
    "MODEL.NON_LOCAL.REDUCTION": "The inner channels of a module are the map's channels divided by this.",
    "MODEL.NON_LOCAL.INIT_STD": "Standard deviation of the first weights of theta, phi and g.",
    "MODEL.NON_LOCAL.OUT_INIT_STD": (
        "Standard deviation of the first weights of the last layer; with 0 the module changes nothing before the "
        "first step."
    ),
    "MODEL.NON_LOCAL.LITERAL": (
        "Compute ENL in the paper's order of operations, with its cost in memory; the values are the same."
    ),
    "MODEL.RPN.ANCHOR_SIZES": (
        "Sides of the anchors in pixels of the network's input; with a pyramid one size (or tuple of sizes) for "
        "each level, finest first."
    ),
    "MODEL.RPN.ANCHOR_STRIDE": "Pixels of the input for each step of a map; with a pyramid one for each level.",
    "MODEL.RPN.ASPECT_RATIOS": "Height divided by width of the anchors of each size.",
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": "Anchors of each image that the RPN is trained on in a step.",
    "MODEL.RPN.BG_IOU_THRESHOLD": "An anchor that overlaps every object by less IoU than this is background.",
    "MODEL.RPN.FG_IOU_THRESHOLD": "An anchor that overlaps an object by this IoU or more is learned as that object.",
    "MODEL.RPN.FPN_POST_NMS_PER_BATCH": (
        "In training, FPN_POST_NMS_TOP_N_TRAIN counts the proposals of all images of a process together rather "
        "than those of each image."
    ),
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST": "Proposals of each image over all levels that the heads see in tests.",
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN": "Proposals over all levels that are kept in training.",
    "MODEL.RPN.MIN_SIZE": "Proposals with a side shorter than this, in pixels of the input, are left out.",
    "MODEL.RPN.NMS_THRESH": (
        "IoU above which the weaker of two proposals is suppressed; 0 or less turns suppression off."
    ),
    "MODEL.RPN.POSITIVE_FRACTION": "The largest share of BATCH_SIZE_PER_IMAGE that may be anchors on objects.",
    "MODEL.RPN.POST_NMS_TOP_N_TEST": f"Proposals kept after suppression in tests. {_COUNTS}",
    "MODEL.RPN.POST_NMS_TOP_N_TRAIN": f"Proposals kept after suppression in training. {_COUNTS}",
    "MODEL.RPN.PRE_NMS_TOP_N_TEST": f"Candidates that enter suppression in tests, the best ones. {_COUNTS}",
    "MODEL.RPN.PRE_NMS_TOP_N_TRAIN": f"Candidates that enter suppression in training, the best ones. {_COUNTS}",
    "MODEL.RPN.RPN_HEAD": "The layers of the RPN, a name in `RPN_HEADS`: `SingleConvRPNHead` or `FBNet.rpn_head`.",
    "MODEL.RPN.STRADDLE_THRESH": (
        "An anchor that leaves the image by more pixels than this is not used in training; a negative number uses all."
    ),
    "MODEL.RPN.USE_FPN": "The RPN looks at several levels of a pyramid.",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": "Proposals of each image that the heads are trained on in a step.",
    "MODEL.ROI_HEADS.BBOX_REG_WEIGHTS": "Factors of the box offsets x, y, width and height that the box head learns.",
    "MODEL.ROI_HEADS.BG_IOU_THRESHOLD": "A proposal that overlaps every object by less IoU than this is background.",
    "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": (
        "The most detections of an image that are kept, the best ones; 0 or less keeps all."
    ),
    "MODEL.ROI_HEADS.FG_IOU_THRESHOLD": (
        "A proposal that overlaps an object by this IoU or more is learned as that object."
    ),
    "MODEL.ROI_HEADS.NAME": (
        "All heads together, a name in `ROI_HEADS` of modeling/registries.py; empty for the usual ones."
    ),
    "MODEL.ROI_HEADS.NMS": (
        "IoU above which the weaker of two detections of a class is suppressed; 0 or less turns it off."
    ),
    "MODEL.ROI_HEADS.POSITIVE_FRACTION": (
        "The largest share of BATCH_SIZE_PER_IMAGE that may be proposals on objects."
    ),
    "MODEL.ROI_HEADS.SCORE_THRESH": "The least score of a detection in tests.",
    "MODEL.ROI_HEADS.USE_FPN": (
        "The heads pool from several levels of a pyramid, each proposal from the level of its size."
    ),
    **{
        f"MODEL.{g}.NAME": f"The {n} head as a whole, a name in `ROI_HEADS`; empty for the usual one."
        for g, n in _HEADS.items()
    },
    **{
        f"MODEL.{g}.FEATURE_EXTRACTOR": f"The layers of the {n} head before its predictions, by name in modeling/registries.py."
        for g, n in _HEADS.items()
    },
    **{
        f"MODEL.{g}.PREDICTOR": f"The last layers of the {n} head, by their name in modeling/registries.py."
        for g, n in _HEADS.items()
    },
    **{
        f"MODEL.{g}.POOLER_RESOLUTION": f"Side of the square that RoIAlign makes of each box for the {n} head."
        for g, n in _HEADS.items()
    },
    **{
        f"MODEL.{g}.POOLER_SAMPLING_RATIO": "Samples along each side of a cell of RoIAlign; 0 for as many as there are pixels."
        for g in _HEADS
    },
    **{
        f"MODEL.{g}.POOLER_SCALES": f"The scales of the maps that the {n} head pools from, relative to the input: 1 / stride."
        for g, n in _HEADS.items()
    },
    "MODEL.ROI_BOX_HEAD.CONV_HEAD_DIM": "Channels of the convolutions of `FPNXconv1fcFeatureExtractor`.",
    "MODEL.ROI_BOX_HEAD.DILATION": "Dilation of the convolutions of `FPNXconv1fcFeatureExtractor`.",
    "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": "Channels of the fully connected layers.",
    "MODEL.ROI_BOX_HEAD.NUM_CLASSES": "The categories and the background: one more than the data have.",
    "MODEL.ROI_BOX_HEAD.NUM_STACKED_CONVS": "Number of convolutions of `FPNXconv1fcFeatureExtractor`.",
    "MODEL.ROI_BOX_HEAD.USE_GN": "Normalize the layers of the box head by groups.",
    "MODEL.ROI_MASK_HEAD.CONV_LAYERS": "Channels of the convolutions of the mask head, one after another.",
    "MODEL.ROI_MASK_HEAD.DILATION": "Dilation of these convolutions.",
    "MODEL.ROI_MASK_HEAD.MLP_HEAD_DIM": "Read by no mask head of this package; kept for files that set it.",
    "MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS": (
        "Paste masks into the network's input right after prediction, instead of into the image at its own size "
        "when results are written."
    ),
    "MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS_THRESHOLD": (
        "Value from which a pixel of a pasted mask counts; negative keeps the values."
    ),
    "MODEL.ROI_MASK_HEAD.RESOLUTION": "Side of the square masks that are learned and predicted.",
    "MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR": (
        "Use the features of the box head, as C4 models do, rather than pool anew."
    ),
    "MODEL.ROI_MASK_HEAD.USE_GN": "Normalize the convolutions of the mask head by groups.",
    "MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS": "Channels of the convolutions of the keypoint head, one after another.",
    "MODEL.ROI_KEYPOINT_HEAD.MLP_HEAD_DIM": "Read by no keypoint head of this package; kept for files that set it.",
    "MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES": "Number of keypoints of an object.",
    "MODEL.ROI_KEYPOINT_HEAD.RESOLUTION": "Side of the square heat maps that are learned and predicted.",
    "MODEL.ROI_KEYPOINT_HEAD.SHARE_BOX_FEATURE_EXTRACTOR": "Use the features of the box head rather than pool anew.",
    "MODEL.RETINANET.ANCHOR_SIZES": "Smallest side of the anchors of each level, in pixels of the input.",
    "MODEL.RETINANET.ANCHOR_STRIDES": "Pixels of the input for each step of a level's map.",
    "MODEL.RETINANET.ASPECT_RATIOS": "Height divided by width of the anchors of each size.",
    "MODEL.RETINANET.BBOX_REG_BETA": "Where the smooth L1 loss of boxes turns from a parabola into a line.",
    "MODEL.RETINANET.BBOX_REG_WEIGHT": "What the loss of boxes is divided by.",
    "MODEL.RETINANET.BG_IOU_THRESHOLD": "An anchor that overlaps every object by less IoU than this is background.",
    "MODEL.RETINANET.FG_IOU_THRESHOLD": (
        "An anchor that overlaps an object by this IoU or more is learned as that object."
    ),
    "MODEL.RETINANET.INFERENCE_TH": "The least score of a candidate in tests.",
    "MODEL.RETINANET.LOSS_ALPHA": "Weight of objects against background in the focal loss.",
    "MODEL.RETINANET.LOSS_GAMMA": "How much the focal loss plays down what is easy.",
    "MODEL.RETINANET.NMS_TH": "IoU above which the weaker of two detections of a class is suppressed.",
    "MODEL.RETINANET.NUM_CLASSES": "The categories and the background: one more than the data have.",
    "MODEL.RETINANET.NUM_CONVS": "Convolutions before the predictions of classes, and as many before those of boxes.",
    "MODEL.RETINANET.OCTAVE": "The sizes of a level lie between ANCHOR_SIZES and this many times it.",
    "MODEL.RETINANET.PRE_NMS_TOP_N": "Candidates of each level that enter suppression, the best ones.",
    "MODEL.RETINANET.PRIOR_PROB": "The score that every anchor begins with, so that the first steps are stable.",
    "MODEL.RETINANET.SCALES_PER_OCTAVE": "Number of anchor sizes of each level.",
    "MODEL.RETINANET.STRADDLE_THRESH": "As MODEL.RPN.STRADDLE_THRESH, for RetinaNet's anchors.",
    "MODEL.RETINANET.USE_C5": "Make the coarser levels from the body's last map rather than from the pyramid's.",
    "MODEL.FBNET.ARCH": "A named architecture of modeling/backbone/fbnet_modeldef.py.",
    "MODEL.FBNET.ARCH_DEF": "An architecture of one's own as JSON; empty for the named one.",
    "MODEL.FBNET.BN_TYPE": "Normalization: `bn`, `af` (fixed statistics) or `gn`.",
    **{
        f"MODEL.FBNET.{part}_HEAD_BLOCKS": f"Which blocks of the architecture's last stage the {name} head uses; empty for all."
        for part, name in (("DET", "box"), ("MASK", "mask"), ("KPTS", "keypoint"))
    },
    **{
        f"MODEL.FBNET.{part}_HEAD_LAST_SCALE": f"Factor of the channels of the {name} head's last layer; 0 for no such layer, a "
        "negative number is a factor of the channels before it."
        for part, name in (("DET", "box"), ("MASK", "mask"), ("KPTS", "keypoint"))
    },
    **{
        f"MODEL.FBNET.{part}_HEAD_STRIDE": f"Stride of the first block of the {name} head; 0 for the architecture's."
        for part, name in (("DET", "box"), ("MASK", "mask"), ("KPTS", "keypoint"))
    },
    "MODEL.FBNET.DW_CONV_SKIP_BN": "Leave the normalization behind the depthwise convolutions out.",
    "MODEL.FBNET.DW_CONV_SKIP_RELU": "Leave the ReLU behind the depthwise convolutions out.",
    "MODEL.FBNET.RPN_BN_TYPE": "Normalization of the RPN's blocks; empty for that of BN_TYPE.",
    "MODEL.FBNET.RPN_HEAD_BLOCKS": "How many of the RPN's blocks are used, the last ones; 0 for all.",
    "MODEL.FBNET.SCALE_FACTOR": "Factor of all channels.",
    "MODEL.FBNET.WIDTH_DIVISOR": "All channels are a multiple of this.",
}
