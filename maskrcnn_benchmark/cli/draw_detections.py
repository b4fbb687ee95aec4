"""Draw detections beside the annotations: a picture of each of the images with most objects, and a sheet of these."""

import os

from maskrcnn_benchmark.config.command_line import CommandParser
from maskrcnn_benchmark.data.datasets.annotated_images import AnnotatedImages
from maskrcnn_benchmark.data.datasets.coco_tree import load_coco
from maskrcnn_benchmark.data.detection_files import read_detections
from maskrcnn_benchmark.data.pictures import free_name, to_bgr, write_picture
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.utils.files import check_folder, check_not_replaced
from maskrcnn_benchmark.utils.progress_bar import progress_bar
from maskrcnn_benchmark.utils.wording import counted
from maskrcnn_benchmark.visualization import draw_annotations, make_sheet, side_by_side


def build_parser() -> CommandParser:
    parser = CommandParser(description=__doc__)
    parser.add_argument("--ann-file", required=True, help="annotations in COCO format")
    parser.add_argument("--img-dir", required=True, help="folder of the images")
    parser.add_argument(
        "--results",
        required=True,
        help="a folder that `mrb test` (OUTPUT_DIR/inference/NAME) or `mrb predict` wrote, or a file of results in COCO's format",
    )
    parser.add_argument("--out", required=True, help="folder for the pictures")
    parser.add_argument(
        "--count", type=int, default=12, help="images to draw, those with most objects first (default 12)"
    )
    parser.add_argument("--threshold", type=float, default=0.5, help="least score of a detection drawn (default 0.5)")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        coco = load_coco(args.ann_file)
        images_of_set = (os.path.join(args.img_dir, image["file_name"]) for image in coco.imgs.values())
        check_not_replaced(args.out, images_of_set, "--out")
        results = read_detections(args.results, coco, args.threshold, args.img_dir)
        check_folder(args.out, "The folder")
        image_ids = sorted(coco.imgs, key=lambda i: (-len(coco.imgToAnns.get(i, [])), i))[: args.count]
        pictures = []
        chosen = [coco.imgs[image_id] for image_id in image_ids]
        images = AnnotatedImages.of_entries(args.ann_file, args.img_dir, chosen)
        taken: set[str] = set()
        for place, image_id in enumerate(progress_bar(image_ids, desc="drawing", unit="image")):
            image = to_bgr(images.read_at(place))
            drawn = [
                draw_annotations(image, objects.get(image_id, []), coco.cats) for objects in (coco.imgToAnns, results)
            ]
            pictures.append(side_by_side(drawn, ("annotated", f"detected (score >= {args.threshold:g})")))
            name = free_name(chosen[place]["file_name"], ".png", taken)
            write_picture(os.path.join(args.out, name), pictures[-1])
        if pictures:
            write_picture(os.path.join(args.out, "sheet.jpg"), make_sheet(pictures, columns=2, cell_width=900))
        print(f"Wrote {counted(len(pictures), 'picture')}{' and sheet.jpg' if pictures else ''} to {args.out}")
