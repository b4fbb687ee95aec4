"""Write Cityscapes' annotations in COCO format: instancesonly_filtered_gtFine_SPLIT.json for each split there is.

The eight classes that Cityscapes evaluates are the categories 1 to 8, masks are run-length encoded. File names have no
folders: the images belong into one folder, datasets/cityscapes/images for the built-in names. With --keep-folders they
begin with split and city, for IMG_DIR .../leftImg8bit in DATASETS.DEFINITIONS.
"""

import os

from maskrcnn_benchmark.config.command_line import CommandParser
from maskrcnn_benchmark.data.datasets.cityscapes import CityScapesDataset
from maskrcnn_benchmark.data.datasets.evaluation.coco.abs_to_coco import convert_abstract_to_coco
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.utils.files import write_json
from maskrcnn_benchmark.utils.wording import counted

SPLITS = ("train", "val", "test")  # that Cityscapes comes in


def convert(
    data_dir: str, split: str, mode: str, min_area: float = 0, keep_folders: bool = False, workers: int | None = None
) -> dict:
    """A split of the folder that holds leftImg8bit and gtFine, as COCO's JSON."""
    images, truth = os.path.join(data_dir, "leftImg8bit"), os.path.join(data_dir, "gtFine")
    dataset = CityScapesDataset(images, truth, split=split, mode=mode, min_area=min_area)
    content = convert_abstract_to_coco(dataset, workers)
    for image in content["images"]:
        name = image["file_name"]
        image["file_name"] = f"{split}/{name}" if keep_folders else os.path.basename(name)
    return content


def build_parser() -> CommandParser:
    parser = CommandParser(description=__doc__)
    parser.add_argument(
        "--dataset", default="cityscapes_instance_only", choices=["cityscapes_instance_only"], help="what to convert"
    )
    parser.add_argument("--datadir", required=True, help="folder of leftImg8bit and gtFine")
    parser.add_argument("--outdir", required=True, help="folder to write to")
    parser.add_argument(
        "--mode", default="mask", choices=["mask", "poly"], help="what is seen of an object (mask) or its whole outline"
    )
    parser.add_argument("--min-area", type=float, default=0, help="leave out objects of fewer square pixels")
    parser.add_argument("--keep-folders", action="store_true", help="name images with split and city")
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        splits = [s for s in SPLITS if os.path.isdir(os.path.join(args.datadir, "gtFine", s))]
        if not splits:
            raise ValueError(f"{args.datadir} has no folder gtFine with one of {', '.join(SPLITS)} in it.")
        os.makedirs(args.outdir, exist_ok=True)
        for split in splits:
            content = convert(args.datadir, split, args.mode, args.min_area, args.keep_folders, args.workers)
            path = os.path.join(args.outdir, f"instancesonly_filtered_gtFine_{split}.json")
            write_json(path, content)
            print(
                f"Wrote {counted(len(content['images']), 'image')} with "
                f"{counted(len(content['annotations']), 'object')} to {path}"
            )
