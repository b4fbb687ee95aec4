"""INPUT.TILES.AUTO: tiles that suit the objects of the training set."""

import logging
from typing import Any

from maskrcnn_benchmark.config.node import COMMAND_LINE, ConfigError
from maskrcnn_benchmark.config.options import options

logger = logging.getLogger("maskrcnn_benchmark")


def choose_tiles(cfg: Any) -> None:
    """With INPUT.TILES.AUTO and no SIZE, set SIZE, SCALE and OVERLAP of `cfg`, which is changed, from DATASETS.TRAIN.

    Raises ConfigError where the set cannot be read or does not tell the sizes of its objects.
    """
    own = options(cfg)
    if not own.INPUT.TILES.AUTO:
        return
    if size := own.INPUT.TILES.SIZE:
        if cfg.INPUT.TILES.__dict__.get("given", {}).get("AUTO") == COMMAND_LINE:
            logger.warning("INPUT.TILES.AUTO chooses nothing, as INPUT.TILES.SIZE is %d; with SIZE 0 it does.", size)
        return
    # Late: a prediction, which asks here too, hardly ever needs the data sets.
    from maskrcnn_benchmark.data.build import build_dataset
    from maskrcnn_benchmark.data.catalog import dataset_catalog as catalog_of
    from maskrcnn_benchmark.data.set_facts import facts_of_dataset
    from maskrcnn_benchmark.data.suggest import tile_for

    names = cfg.DATASETS.TRAIN
    try:
        (dataset,) = build_dataset(names, None, catalog_of(cfg), True, False, own.DATALOADER.ANNOTATION_CACHE)
        facts = facts_of_dataset(dataset)
    except (ValueError, OSError, KeyError) as error:
        raise ConfigError(
            f"INPUT.TILES.AUTO chooses tiles from the objects of DATASETS.TRAIN, {names}, and could not. "
            f"{str(error).rstrip('.')}. Set INPUT.TILES.SIZE and SCALE, or take config.yml from the OUTPUT_DIR of the training: "
            "it holds what was chosen there."
        ) from None
    tiles = cfg.INPUT.TILES
    tiles.SIZE, tiles.SCALE, tiles.OVERLAP = tile_for(facts)
    logger.info(
        "INPUT.TILES.AUTO: objects of %.0f, %.0f and %.0f pixels (small, median, large), images of up to %d: SIZE %d, SCALE "
        "%g, OVERLAP %g",
        *(facts.small, facts.median, facts.large, facts.longest),
        *(tiles.SIZE, tiles.SCALE, tiles.OVERLAP),
    )
