"""All kinds of inputs by name."""

from tests.fuzz.checkpoints import PKL, PTH
from tests.fuzz.configurations import OPTIONS, YAML
from tests.fuzz.data_sets import COCO, FORM_FILES, IMAGES, VOC_FILES
from tests.fuzz.requests import REQUESTS
from tests.fuzz.result_files import RESULTS

KINDS = {kind.name: kind for kind in (PTH, PKL, YAML, OPTIONS, REQUESTS, IMAGES, COCO, VOC_FILES, FORM_FILES, RESULTS)}
