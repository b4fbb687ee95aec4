"""What every configuration key means, a sentence or two for each: the one place where that is said.

The reference of the documents is made from these sentences, from the defaults in standard.py and options.py, and from what
checks.py allows. A test fails on a key without a sentence.
"""

from maskrcnn_benchmark.config.model_descriptions import MODEL_GROUPS, MODEL_KEYS

GROUPS: dict[str, str] = {
    "": "Keys outside all groups.",
    **MODEL_GROUPS,
    "INPUT": "From an image file to the network's input: sizes, data augmentation, normalization.",
    "INPUT.TILES": "Large images cut into tiles, in tests, predictions and training.",
    "DATASETS": "The data sets to train and to test on.",
    "DATALOADER": "How images are loaded, grouped and repeated.",
    "SOLVER": "The optimizer (SGD), its learning rate, and the course of a training.",
    "TEST": "Tests and their metrics.",
    "TEST.BBOX_AUG": "Test-time augmentation: detections of several views of an image, merged.",
}

_JITTER = "varies by up to this share in each training image; 0 for not at all."

DESCRIPTIONS: dict[str, str] = {
    **MODEL_KEYS,
    "INPUT.BRIGHTNESS": f"Brightness {_JITTER}",
    "INPUT.CONTRAST": f"Contrast {_JITTER}",
    "INPUT.SATURATION": f"Saturation {_JITTER}",
    "INPUT.HUE": "Hue varies by up to this share of the colour circle in each training image; 0 for not at all.",
    "INPUT.HORIZONTAL_FLIP_PROB_TRAIN": "Probability that a training image is mirrored left to right.",
    "INPUT.VERTICAL_FLIP_PROB_TRAIN": "Probability that a training image is turned upside down in a mirror.",
    "INPUT.MIN_SIZE_TRAIN": (
        "Shorter side of a training image in pixels, after scaling; of several sizes one is drawn for each image."
    ),
    "INPUT.MAX_SIZE_TRAIN": "The longer side of a training image is at most this, which limits the scale as well.",
    "INPUT.MIN_SIZE_TEST": "Shorter side of an image in tests and predictions, in pixels after scaling.",
    "INPUT.MAX_SIZE_TEST": (
        "The longer side of an image in tests and predictions is at most this, which limits the scale as well."
    ),
    "INPUT.PIXEL_MEAN": "What is subtracted from each channel, in the order of TO_BGR255.",
    "INPUT.PIXEL_STD": "What each channel is divided by after that.",
    "INPUT.TO_BGR255": "The network sees blue, green, red from 0 to 255; False: red, green, blue from 0 to 1.",
    "INPUT.CROP_TYPE": (
        "A random part of each training image, taken before it is scaled: empty for none, `absolute` (CROP_SIZE "
        "in pixels), `relative` (CROP_SIZE as fractions of the image), or `relative_range` (fractions drawn "
        "between CROP_SIZE and 1)."
    ),
    "INPUT.CROP_SIZE": "Height and width of that part, in the unit of CROP_TYPE.",
    "INPUT.CROP_MIN_VISIBLE": (
        "Objects of which a crop shows less than this share are neither learned nor background; 0 learns all that "
        "it shows."
    ),
    "INPUT.SCALE_JITTER": (
        "Large-scale jitter in place of MIN_SIZE_TRAIN: the lowest and the highest scale, like (0.1, 2.0); empty "
        "for none. The image is scaled to fit a square of SCALE_JITTER_SIZE times a scale drawn between them, "
        "then cropped or padded to that square."
    ),
    "INPUT.SCALE_JITTER_SIZE": "Side of the square of SCALE_JITTER in pixels.",
    "INPUT.TRANSFORMS": (
        "Transforms of one's own, by their names in data/transforms/registry.py, applied to training images "
        "before they are scaled."
    ),
    "INPUT.COPY_PASTE_PROB": (
        "Probability that objects of another image are pasted into a training image (simple copy-paste). It needs "
        "masks."
    ),
    "INPUT.KEYPOINT_FLIP_PAIRS": (
        'Names of keypoints that change places in a mirror, like (("left eye", "right eye"),); empty for those '
        "whose names differ in left and right."
    ),
    "INPUT.TILES.SIZE": "Side of a tile in pixels of the image; 0 for no tiles.",
    "INPUT.TILES.OVERLAP": "Neighbouring tiles share this part of a tile, or up to a tenth less where that saves tiles.",
    "INPUT.TILES.SCALE": "Each tile is scaled by this before the network sees it.",
    "INPUT.TILES.WHOLE": "Look at the whole image too, scaled as MIN_SIZE_TEST and MAX_SIZE_TEST say.",
    "INPUT.TILES.MERGE": (
        "How detections of tiles are joined: `nms` suppresses at an IoU above MERGE_THRESHOLD; `nmm` merges "
        "greedily at an overlap of at least MERGE_THRESHOLD."
    ),
    "INPUT.TILES.MERGE_METRIC": "The overlap of `nmm`: `iou`, or `ios`, the intersection over the smaller box.",
    "INPUT.TILES.MERGE_THRESHOLD": "The overlap that MERGE goes by.",
    "INPUT.TILES.TEST": "Test and predict in tiles.",
    "INPUT.TILES.TRAIN": (
        "Training images are such tiles too, drawn anew in each iteration; SCALE_JITTER, if given, multiplies SCALE."
    ),
    "INPUT.TILES.OBJECTS": "Probability that a training tile lies around an object; otherwise it lies anywhere.",
    "INPUT.TILES.TRAIN_WHOLE": (
        "Probability that training sees the whole image, scaled as MIN_SIZE_TRAIN and MAX_SIZE_TRAIN say, rather than a tile: "
        "for objects larger than a tile."
    ),
    "INPUT.TILES.MIN_VISIBLE": (
        "Objects of which less than this share lies in a training tile are neither learned nor background."
    ),
    "INPUT.TILES.AUTO": "Choose SIZE, SCALE and OVERLAP from the objects of DATASETS.TRAIN, as `mrb suggest` does.",
    "DATASETS.TRAIN": "Names of the data sets to train on, taken together.",
    "DATASETS.TEST": "Names of the data sets to test on, one after another.",
    "DATASETS.DEFINITIONS": (
        "Data sets named in YAML: `NAME: {IMG_DIR: ..., ANN_FILE: ...}`, with SPLIT, FORM and CLASSES (names, or "
        "a file of them) where the files do not say, FIRST_PIXEL 0 for VOC's files that count from 0 and ATTRIBUTE for "
        "VIA's; or `NAME: {FACTORY: PascalVOCDataset, DATA_DIR: ..., SPLIT: train}` for a registered "
        "class, with CLASSES (names, or a file of them) and FIRST_PIXEL 0 where boxes of VOC begin at 0."
    ),
    "DATALOADER.ASPECT_RATIO_GROUPING": (
        "Wide and tall images never share a batch, which saves padding. Numbers are the edges between groups, as "
        "height divided by width."
    ),
    "DATALOADER.NUM_WORKERS": (
        "Processes that load images, for each training process; 0 loads in the training process itself."
    ),
    "DATALOADER.SIZE_DIVISIBILITY": (
        "Batches are padded to a multiple of this many pixels; 0 or 1 for no more than needed."
    ),
    "DATALOADER.FILTER_EMPTY_ANNOTATIONS": "Leave images without a usable annotation out of training.",
    "DATALOADER.MAX_BROKEN_IMAGES": (
        "Images that cannot be read are named, counted and replaced; more than this many stop the run."
    ),
    "DATALOADER.PREFETCH_FACTOR": (
        "Batches that each worker makes ahead: a process holds at most NUM_WORKERS times as many."
    ),
    "DATALOADER.REPEAT_FACTOR_THRESHOLD": (
        "Against class imbalance: images of a category that is in a smaller fraction of all images come more than "
        "once an epoch (0.001 for LVIS); 0 for never."
    ),
    "DATALOADER.ANNOTATION_CACHE": (
        "Folder for indices of large annotation files (20 MB for COCO train2017), which make later starts "
        "quicker; empty for none."
    ),
    "SOLVER.BASE_LR": "Learning rate after the warm-up, for IMS_PER_BATCH images.",
    "SOLVER.BIAS_LR_FACTOR": "The learning rate of biases is BASE_LR times this.",
    "SOLVER.NON_LOCAL_LR_FACTOR": (
        "The learning rate of context modules, which are new where the rest was trained before, is BASE_LR times this."
    ),
    "SOLVER.CHECKPOINT_PERIOD": "Iterations between two checkpoints; 0 for the last one alone.",
    "SOLVER.CHECKPOINTS_KEPT": (
        "Numbered checkpoints that are kept, the newest; 0 for all. Two leave one to fall back on."
    ),
    "SOLVER.GAMMA": "The learning rate is multiplied by this at each of STEPS.",
    "SOLVER.STEPS": "Iterations at which the learning rate falls.",
    "SOLVER.LR_SCHEDULE": "`multistep` (STEPS and GAMMA), or `cosine` from BASE_LR to 0 at MAX_ITER.",
    "SOLVER.IMS_PER_BATCH": "Images of an iteration over all processes; iterations and rates belong to this number.",
    "SOLVER.ACCUMULATE": (
        "Gradient accumulation: the images of an iteration are taken in this many parts, one after another, where "
        "they do not fit into memory together."
    ),
    "SOLVER.REFERENCE_IMS_PER_BATCH": (
        "The images of an iteration that rates, iterations and proposals of this configuration were chosen for; "
        "they are scaled from it to IMS_PER_BATCH. 0 takes them as they are."
    ),
    "SOLVER.REFERENCE_PROCESSES": "The number of processes that they were chosen for.",
    "SOLVER.MAX_ITER": "Iterations of a training.",
    "SOLVER.MAX_TIME": (
        "Minutes that a training takes: MAX_ITER, STEPS and WARMUP_ITERS are scaled to what fits, by the time of "
        "the first iterations. 0: MAX_ITER counts."
    ),
    "SOLVER.MOMENTUM": "Momentum of SGD.",
    "SOLVER.WARMUP_FACTOR": "The learning rate starts at BASE_LR times this.",
    "SOLVER.WARMUP_ITERS": "Iterations until the learning rate has reached BASE_LR.",
    "SOLVER.WARMUP_METHOD": "`linear` growth until then, or `constant`.",
    "SOLVER.WEIGHT_DECAY": "Weight decay of all parameters but biases.",
    "SOLVER.WEIGHT_DECAY_BIAS": "Weight decay of biases.",
    "SOLVER.CLIP_GRAD_NORM": "Gradient clipping: the largest norm of all gradients together; 0 for no limit.",
    "SOLVER.EMA": (
        "Decay of an exponential moving average (EMA) of the weights, which is then what is tested; 0 for none."
    ),
    "SOLVER.FIND_UNUSED_PARAMETERS": (
        "Whether several processes look in every iteration for parameters that its losses do not depend on "
        "(`find_unused_parameters` of DistributedDataParallel), which a model of one's own may have."
    ),
    "SOLVER.TEST_PERIOD": (
        "Iterations between two tests during training; the best weights are kept in model_best.pth. 0 for none."
    ),
    "SOLVER.EARLY_STOP": (
        "Early stopping: end after this many tests (see TEST_PERIOD) without a better result; 0 for never."
    ),
    "SOLVER.LOG_PERIOD": "Iterations between two progress lines.",
    "TEST.BBOX_AUG.ENABLED": "Use test-time augmentation.",
    "TEST.BBOX_AUG.H_FLIP": "Look at the mirrored image as well.",
    "TEST.BBOX_AUG.SCALES": "Look at the image with each of these shorter sides, in pixels, as well.",
    "TEST.BBOX_AUG.MAX_SIZE": "The longer side at these scales is at most this.",
    "TEST.BBOX_AUG.SCALE_H_FLIP": "Mirror the image at these scales too.",
    "TEST.BBOX_AUG.MASKS": (
        "Masks of the merged detections: `identity` from the image as it is, or `average` over all views, at "
        "twice the cost."
    ),
    "TEST.DETECTIONS_PER_IMG": (
        "The most detections of an image that RetinaNet keeps. Other detectors read MODEL.ROI_HEADS.DETECTIONS_PER_IMG."
    ),
    "TEST.EXPECTED_RESULTS": "Checks of the evaluation, each [task, metric, mean, standard deviation].",
    "TEST.EXPECTED_RESULTS_SIGMA_TOL": "How many standard deviations a result may lie from its mean.",
    "TEST.IMS_PER_BATCH": "Images (or tiles) that go through the network together in tests, over all processes.",
    "TEST.BEST_METRIC": (
        "The metric that chooses model_best.pth among the tests during training, like `bbox/AP` or "
        "`coco_2017_val/segm/APs`; empty for the first one of the first data set."
    ),
    "TEST.COCO_EVALUATOR": (
        "What computes COCO's metrics: `pycocotools`, `faster-coco-eval` or `hotcoco`, packages that give the "
        "same numbers in different times; `auto` takes hotcoco where it is installed, otherwise pycocotools."
    ),
    "TEST.COCO_MAX_DETECTIONS": (
        "Above 100, results are also computed with this many detections of an image (of each category), as "
        "`AP@300` beside COCO's AP."
    ),
    "TEST.COCO_AREAS": (
        "Sizes of objects for which AP and AR are computed: `coco` (APs, APm, APl), `ai-tod` (APvt, APt, APs, "
        "APm, and 1500 detections), `visdrone` (COCO's sizes, and 500 detections), or names with the lowest and "
        "highest area in square pixels: `{tiny: [0, 256], small: [256, 1024]}` gives APtiny and APsmall."
    ),
    "TEST.KEYPOINT_OKS_SIGMAS": (
        "How exactly people mark each keypoint, as a share of an object's size (OKS); empty for COCO's values of "
        "a person, otherwise their mean."
    ),
    "TEST.OPTIMIZE": (
        "Detect with a copy of the model that can do nothing else: batch norms folded into convolutions, weights "
        "in DTYPE, and with MODEL.COMPILE compiled as a whole with its weights as constants. It is meant for "
        "machines without a GPU."
    ),
    "AMP_VERBOSE": (
        "Read by nothing: apex, whose messages it controlled, is no longer used. Kept for files that set it."
    ),
    "DTYPE": (
        "Mixed precision: the arithmetic of convolutions and matrix products in training and detection. Weights "
        "stay float32. A processor that would take many times as long in 16 bits computes in float32, and says so."
    ),
    "OUTPUT_DIR": "Folder of a run: checkpoints, logs, and results below inference/.",
    "PATHS_CATALOG": "A Python file with a DatasetCatalog and a ModelCatalog.",
    "SEED": "Seed of Python, numpy, torch, workers and samplers; a negative number draws one and logs it.",
    "TIMEOUT": "Seconds after which a process that makes no progress ends; 0 for never.",
    "REPORT": "Write report.html to OUTPUT_DIR at the end of a training, and to the folder of each test: curves, tables, "
    "the worst errors as crops, the configuration and the environment in one file.",
    "TENSORBOARD": "Also write TensorBoard event files to OUTPUT_DIR; needs the package tensorboard.",
}
