"""Every configuration key with its default. configs/ holds what differs from here."""

import os

from maskrcnn_benchmark.config.node import ConfigNode as CN

_C = CN()

_C.MODEL = CN()
_C.MODEL.CLS_AGNOSTIC_BBOX_REG = False
# Compile body and pyramid with torch.compile, for all image sizes at once: slower to start, faster from then on.
_C.MODEL.COMPILE = False
_C.MODEL.DEVICE = "cuda"
_C.MODEL.KEYPOINT_ON = False
_C.MODEL.MASK_ON = False
_C.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
_C.MODEL.RETINANET_ON = False
_C.MODEL.RPN_ONLY = False
# A path (.pth, or a .pkl of Detectron or detectron2), a URL, catalog://NAME of the ModelCatalog, or torchvision://MODEL.
_C.MODEL.WEIGHT = ""
# Load a checkpoint in which some shapes differ (another number of classes): those weights keep their initialisation.
_C.MODEL.WEIGHT_ALLOW_MISMATCH = False

# CONV_BODY: a name in modeling.registry.BACKBONES. FREEZE_CONV_BODY_AT: the stem and stages below it stay fixed.
_C.MODEL.BACKBONE = CN()
_C.MODEL.BACKBONE.CONV_BODY = "R-50-C4"
_C.MODEL.BACKBONE.FREEZE_CONV_BODY_AT = 2

_C.MODEL.RESNETS = CN()
_C.MODEL.RESNETS.BACKBONE_OUT_CHANNELS = 1024
_C.MODEL.RESNETS.DEFORMABLE_GROUPS = 1
_C.MODEL.RESNETS.NUM_GROUPS = 1
_C.MODEL.RESNETS.RES2_OUT_CHANNELS = 256
_C.MODEL.RESNETS.RES5_DILATION = 1
_C.MODEL.RESNETS.STAGE_WITH_DCN = (False, False, False, False)
_C.MODEL.RESNETS.STEM_FUNC = "StemWithFixedBatchNorm"
_C.MODEL.RESNETS.STEM_OUT_CHANNELS = 64
_C.MODEL.RESNETS.STRIDE_IN_1X1 = True
_C.MODEL.RESNETS.TRANS_FUNC = "BottleneckWithFixedBatchNorm"
_C.MODEL.RESNETS.WIDTH_PER_GROUP = 64
_C.MODEL.RESNETS.WITH_MODULATED_DCN = False

_C.MODEL.FPN = CN()
_C.MODEL.FPN.USE_GN = False
_C.MODEL.FPN.USE_RELU = False

# Non-local context modules (Levi and Ullman 2019). TYPE: "", "nl" (embedded Gaussian), "nl_dot", "enl". BOTTOM_UP acts
# before the last residual block of each stage, TOP_DOWN before the upsampling of each level. POSITION: "dct" or "".
# INIT_STD: standard deviation of the first weights of theta, phi and g; OUT_INIT_STD: of the last layer's. LITERAL: in the
# paper's order of operations, with its cost in memory; the values are the same.
_C.MODEL.NON_LOCAL = CN()
_C.MODEL.NON_LOCAL.BOTTOM_UP = CN()
_C.MODEL.NON_LOCAL.BOTTOM_UP.TYPE = ""
_C.MODEL.NON_LOCAL.BOTTOM_UP.STAGES = ("res4",)
_C.MODEL.NON_LOCAL.TOP_DOWN = CN()
_C.MODEL.NON_LOCAL.TOP_DOWN.TYPE = ""
_C.MODEL.NON_LOCAL.TOP_DOWN.STAGES = ("res5", "res4", "res3")
_C.MODEL.NON_LOCAL.POSITION = "dct"
_C.MODEL.NON_LOCAL.DCT_SIZE = 9
_C.MODEL.NON_LOCAL.REDUCTION = 2
_C.MODEL.NON_LOCAL.INIT_STD = 0.01
_C.MODEL.NON_LOCAL.OUT_INIT_STD = 0.01
_C.MODEL.NON_LOCAL.LITERAL = False

_C.MODEL.GROUP_NORM = CN()
_C.MODEL.GROUP_NORM.DIM_PER_GP = -1
_C.MODEL.GROUP_NORM.EPSILON = 1e-05
_C.MODEL.GROUP_NORM.NUM_GROUPS = 32

# Region proposals. With FPN, the *_TOP_N counts hold for each level and FPN_POST_NMS_TOP_N_* for all levels together.
_C.MODEL.RPN = CN()
_C.MODEL.RPN.ANCHOR_SIZES = (32, 64, 128, 256, 512)
_C.MODEL.RPN.ANCHOR_STRIDE = (16,)
_C.MODEL.RPN.ASPECT_RATIOS = (0.5, 1.0, 2.0)
_C.MODEL.RPN.BATCH_SIZE_PER_IMAGE = 256
_C.MODEL.RPN.BG_IOU_THRESHOLD = 0.3
_C.MODEL.RPN.FG_IOU_THRESHOLD = 0.7
_C.MODEL.RPN.FPN_POST_NMS_PER_BATCH = True
_C.MODEL.RPN.FPN_POST_NMS_TOP_N_TEST = 2000
_C.MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN = 2000
_C.MODEL.RPN.MIN_SIZE = 0
_C.MODEL.RPN.NMS_THRESH = 0.7
_C.MODEL.RPN.POSITIVE_FRACTION = 0.5
_C.MODEL.RPN.POST_NMS_TOP_N_TEST = 1000
_C.MODEL.RPN.POST_NMS_TOP_N_TRAIN = 2000
_C.MODEL.RPN.PRE_NMS_TOP_N_TEST = 6000
_C.MODEL.RPN.PRE_NMS_TOP_N_TRAIN = 12000
_C.MODEL.RPN.RPN_HEAD = "SingleConvRPNHead"
_C.MODEL.RPN.STRADDLE_THRESH = 0
_C.MODEL.RPN.USE_FPN = False

_C.MODEL.ROI_HEADS = CN()
_C.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 512
_C.MODEL.ROI_HEADS.BBOX_REG_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
_C.MODEL.ROI_HEADS.BG_IOU_THRESHOLD = 0.5
_C.MODEL.ROI_HEADS.DETECTIONS_PER_IMG = 100
_C.MODEL.ROI_HEADS.FG_IOU_THRESHOLD = 0.5
_C.MODEL.ROI_HEADS.NMS = 0.5
_C.MODEL.ROI_HEADS.POSITIVE_FRACTION = 0.25
_C.MODEL.ROI_HEADS.SCORE_THRESH = 0.05
_C.MODEL.ROI_HEADS.USE_FPN = False

_C.MODEL.ROI_BOX_HEAD = CN()
_C.MODEL.ROI_BOX_HEAD.CONV_HEAD_DIM = 256
_C.MODEL.ROI_BOX_HEAD.DILATION = 1
_C.MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR = "ResNet50Conv5ROIFeatureExtractor"
_C.MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM = 1024
_C.MODEL.ROI_BOX_HEAD.NUM_CLASSES = 81
_C.MODEL.ROI_BOX_HEAD.NUM_STACKED_CONVS = 4
_C.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = 14
_C.MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO = 0
_C.MODEL.ROI_BOX_HEAD.POOLER_SCALES = (0.0625,)
_C.MODEL.ROI_BOX_HEAD.PREDICTOR = "FastRCNNPredictor"
_C.MODEL.ROI_BOX_HEAD.USE_GN = False

_C.MODEL.ROI_MASK_HEAD = CN()
_C.MODEL.ROI_MASK_HEAD.CONV_LAYERS = (256, 256, 256, 256)
_C.MODEL.ROI_MASK_HEAD.DILATION = 1
_C.MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR = "ResNet50Conv5ROIFeatureExtractor"
_C.MODEL.ROI_MASK_HEAD.MLP_HEAD_DIM = 1024
_C.MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION = 14
_C.MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO = 0
_C.MODEL.ROI_MASK_HEAD.POOLER_SCALES = (0.0625,)
_C.MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS = False
_C.MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS_THRESHOLD = 0.5
_C.MODEL.ROI_MASK_HEAD.PREDICTOR = "MaskRCNNC4Predictor"
_C.MODEL.ROI_MASK_HEAD.RESOLUTION = 14
_C.MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR = True
_C.MODEL.ROI_MASK_HEAD.USE_GN = False

_C.MODEL.ROI_KEYPOINT_HEAD = CN()
_C.MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS = (512, 512, 512, 512, 512, 512, 512, 512)
_C.MODEL.ROI_KEYPOINT_HEAD.FEATURE_EXTRACTOR = "KeypointRCNNFeatureExtractor"
_C.MODEL.ROI_KEYPOINT_HEAD.MLP_HEAD_DIM = 1024
_C.MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES = 17
_C.MODEL.ROI_KEYPOINT_HEAD.POOLER_RESOLUTION = 14
_C.MODEL.ROI_KEYPOINT_HEAD.POOLER_SAMPLING_RATIO = 0
_C.MODEL.ROI_KEYPOINT_HEAD.POOLER_SCALES = (0.0625,)
_C.MODEL.ROI_KEYPOINT_HEAD.PREDICTOR = "KeypointRCNNPredictor"
_C.MODEL.ROI_KEYPOINT_HEAD.RESOLUTION = 14
_C.MODEL.ROI_KEYPOINT_HEAD.SHARE_BOX_FEATURE_EXTRACTOR = True

_C.MODEL.RETINANET = CN()
_C.MODEL.RETINANET.ANCHOR_SIZES = (32, 64, 128, 256, 512)
_C.MODEL.RETINANET.ANCHOR_STRIDES = (8, 16, 32, 64, 128)
_C.MODEL.RETINANET.ASPECT_RATIOS = (0.5, 1.0, 2.0)
_C.MODEL.RETINANET.BBOX_REG_BETA = 0.11
_C.MODEL.RETINANET.BBOX_REG_WEIGHT = 4.0
_C.MODEL.RETINANET.BG_IOU_THRESHOLD = 0.4
_C.MODEL.RETINANET.FG_IOU_THRESHOLD = 0.5
_C.MODEL.RETINANET.INFERENCE_TH = 0.05
_C.MODEL.RETINANET.LOSS_ALPHA = 0.25
_C.MODEL.RETINANET.LOSS_GAMMA = 2.0
_C.MODEL.RETINANET.NMS_TH = 0.4
_C.MODEL.RETINANET.NUM_CLASSES = 81
_C.MODEL.RETINANET.NUM_CONVS = 4
_C.MODEL.RETINANET.OCTAVE = 2.0
_C.MODEL.RETINANET.PRE_NMS_TOP_N = 1000
_C.MODEL.RETINANET.PRIOR_PROB = 0.01
_C.MODEL.RETINANET.SCALES_PER_OCTAVE = 3
_C.MODEL.RETINANET.STRADDLE_THRESH = 0
_C.MODEL.RETINANET.USE_C5 = True

_C.MODEL.FBNET = CN()
_C.MODEL.FBNET.ARCH = "default"
_C.MODEL.FBNET.ARCH_DEF = ""
_C.MODEL.FBNET.BN_TYPE = "bn"
_C.MODEL.FBNET.DET_HEAD_BLOCKS = []
_C.MODEL.FBNET.DET_HEAD_LAST_SCALE = 1.0
_C.MODEL.FBNET.DET_HEAD_STRIDE = 0
_C.MODEL.FBNET.DW_CONV_SKIP_BN = True
_C.MODEL.FBNET.DW_CONV_SKIP_RELU = True
_C.MODEL.FBNET.KPTS_HEAD_BLOCKS = []
_C.MODEL.FBNET.KPTS_HEAD_LAST_SCALE = 0.0
_C.MODEL.FBNET.KPTS_HEAD_STRIDE = 0
_C.MODEL.FBNET.MASK_HEAD_BLOCKS = []
_C.MODEL.FBNET.MASK_HEAD_LAST_SCALE = 0.0
_C.MODEL.FBNET.MASK_HEAD_STRIDE = 0
_C.MODEL.FBNET.RPN_BN_TYPE = ""
_C.MODEL.FBNET.RPN_HEAD_BLOCKS = 0
_C.MODEL.FBNET.SCALE_FACTOR = 1.0
_C.MODEL.FBNET.WIDTH_DIVISOR = 1

# Sizes are those of the shorter and longer side in pixels; MIN_SIZE_TRAIN is drawn from.
_C.INPUT = CN()
_C.INPUT.BRIGHTNESS = 0.0
_C.INPUT.CONTRAST = 0.0
_C.INPUT.HORIZONTAL_FLIP_PROB_TRAIN = 0.5
_C.INPUT.HUE = 0.0
_C.INPUT.MAX_SIZE_TEST = 1333
_C.INPUT.MAX_SIZE_TRAIN = 1333
_C.INPUT.MIN_SIZE_TEST = 800
_C.INPUT.MIN_SIZE_TRAIN = (800,)
_C.INPUT.PIXEL_MEAN = (102.9801, 115.9465, 122.7717)
_C.INPUT.PIXEL_STD = (1.0, 1.0, 1.0)
_C.INPUT.SATURATION = 0.0
_C.INPUT.TO_BGR255 = True
_C.INPUT.VERTICAL_FLIP_PROB_TRAIN = 0.0
# Random part of each training image, before it is scaled: "" for none, "absolute" (CROP_SIZE: height, width in pixels),
# "relative" (fractions of the image's), "relative_range" (fractions drawn between those and 1).
_C.INPUT.CROP_TYPE = ""
_C.INPUT.CROP_SIZE = (0.9, 0.9)
# Large-scale jitter instead of MIN_SIZE_TRAIN: the lowest and highest scale, like (0.1, 2.0); empty for none. The image is
# scaled to fit a square of SCALE_JITTER_SIZE pixels times a scale drawn between them, then cropped or padded to that square.
_C.INPUT.SCALE_JITTER = ()
_C.INPUT.SCALE_JITTER_SIZE = 1024
# Probability that objects of another image are pasted into a training image (simple copy-paste; needs masks).
_C.INPUT.COPY_PASTE_PROB = 0.0

_C.DATASETS = CN()
_C.DATASETS.TEST = ()
_C.DATASETS.TRAIN = ()
# Data sets named in YAML, no source edited: NAME: {IMG_DIR: ..., ANN_FILE: ...} in COCO format.
_C.DATASETS.DEFINITIONS = CN(new_allowed=True)

# SIZE_DIVISIBILITY: batches are padded to a multiple of it. ASPECT_RATIO_GROUPING: wide and tall images never share one.
_C.DATALOADER = CN()
_C.DATALOADER.ASPECT_RATIO_GROUPING = True
_C.DATALOADER.NUM_WORKERS = 4
_C.DATALOADER.SIZE_DIVISIBILITY = 0
# Leave images without a usable annotation out of training.
_C.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True
# Unreadable images are named, counted and replaced; more than this many stop the run.
_C.DATALOADER.MAX_BROKEN_IMAGES = 10
# Batches that each worker makes ahead: a process holds at most NUM_WORKERS times as many.
_C.DATALOADER.PREFETCH_FACTOR = 2
# Images of a category in a smaller fraction of all images come more than once an epoch (LVIS: 0.001); 0 for never.
_C.DATALOADER.REPEAT_FACTOR_THRESHOLD = 0.0
# Folder for the indices of large annotation files (20 MB for COCO train2017), which make later starts quicker; empty: none.
_C.DATALOADER.ANNOTATION_CACHE = "~/.cache/maskrcnn_benchmark"

# Iterations and rates belong to IMS_PER_BATCH images over all processes.
_C.SOLVER = CN()
_C.SOLVER.BASE_LR = 0.001
_C.SOLVER.BIAS_LR_FACTOR = 2.0
# Of ENL and NL modules, which are new where everything else was trained before: their rate is BASE_LR times this.
_C.SOLVER.NON_LOCAL_LR_FACTOR = 1.0
_C.SOLVER.CHECKPOINT_PERIOD = 2500
_C.SOLVER.GAMMA = 0.1
_C.SOLVER.IMS_PER_BATCH = 16
_C.SOLVER.MAX_ITER = 40000
_C.SOLVER.MOMENTUM = 0.9
_C.SOLVER.STEPS = (30000,)
_C.SOLVER.TEST_PERIOD = 0
_C.SOLVER.WARMUP_FACTOR = 1.0 / 3
_C.SOLVER.WARMUP_ITERS = 500
_C.SOLVER.WARMUP_METHOD = "linear"
_C.SOLVER.WEIGHT_DECAY = 0.0005
_C.SOLVER.WEIGHT_DECAY_BIAS = 0.0
# Iterations between two progress lines.
_C.SOLVER.LOG_PERIOD = 20
# IMS_PER_BATCH images are taken in this many parts, one after the other, where they do not fit into memory together.
_C.SOLVER.ACCUMULATE = 1
# What the iterations, rates and proposals of this configuration were chosen for, if that is not IMS_PER_BATCH images on the
# processes in use: they are scaled from this batch on this many processes (see solver/scaling.py). 0: taken as they are.
_C.SOLVER.REFERENCE_IMS_PER_BATCH = 0
_C.SOLVER.REFERENCE_PROCESSES = 8
# "multistep" (STEPS and GAMMA) or "cosine" (from BASE_LR to 0 at MAX_ITER).
_C.SOLVER.SCHEDULE = "multistep"
# Largest norm of all gradients together; 0 for no limit.
_C.SOLVER.CLIP_GRAD_NORM = 0.0
# Decay of an exponential moving average of the weights, which is then what is tested; 0 for none.
_C.SOLVER.EMA = 0.0
# Numbered checkpoints kept, the newest; 0 for all. Two leave one to fall back on.
_C.SOLVER.CHECKPOINTS_KEPT = 0
# End after this many tests (TEST_PERIOD) without a better result; 0 for never.
_C.SOLVER.EARLY_STOP = 0

# EXPECTED_RESULTS: [task, metric, mean, standard deviation] to check the evaluation against.
_C.TEST = CN()
# Test-time augmentation: the image as it is, mirrored if H_FLIP, and at each of SCALES (shorter sides in pixels, the longer
# at most MAX_SIZE), there mirrored too if SCALE_H_FLIP.
_C.TEST.BBOX_AUG = CN()
_C.TEST.BBOX_AUG.ENABLED = False
_C.TEST.BBOX_AUG.H_FLIP = False
_C.TEST.BBOX_AUG.MAX_SIZE = 4000
_C.TEST.BBOX_AUG.SCALES = ()
_C.TEST.BBOX_AUG.SCALE_H_FLIP = False
# Masks of the merged detections: "identity" from the image as it is, "average" over all views, at twice the cost.
_C.TEST.BBOX_AUG.MASKS = "identity"
# Metric that chooses model_best.pth among the tests during training, like "bbox/AP" or "coco_2017_val/segm/APs"; empty: the
# first one of the first data set.
_C.TEST.BEST_METRIC = ""
# "pycocotools", or "faster-coco-eval" (the package of that name): the same numbers in a fraction of the time.
_C.TEST.COCO_EVALUATOR = "pycocotools"
_C.TEST.DETECTIONS_PER_IMG = 100
_C.TEST.EXPECTED_RESULTS = []
_C.TEST.EXPECTED_RESULTS_SIGMA_TOL = 4
_C.TEST.IMS_PER_BATCH = 8
# tools/test_net.py tests a copy of the model that only detects: batch norms folded into convolutions, weights in DTYPE, and with
# MODEL.COMPILE compiled as a whole with its weights as constants (see modeling/optimize.py). For machines without a GPU.
_C.TEST.OPTIMIZE = False

_C.AMP_VERBOSE = False
_C.DTYPE = "float32"
_C.OUTPUT_DIR = "."
_C.PATHS_CATALOG = os.path.join(os.path.dirname(__file__), "paths_catalog.py")
# Seed of python, numpy, torch, workers and samplers; negative: drawn and logged.
_C.SEED = -1
# Seconds after which a process that makes no progress ends; 0 for never.
_C.TIMEOUT = 1800
# Also write TensorBoard event files to OUTPUT_DIR (needs the tensorboard package).
_C.TENSORBOARD = False
