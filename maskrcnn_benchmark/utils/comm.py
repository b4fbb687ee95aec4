from maskrcnn_benchmark.utils.distributed import (
    all_gather,
    gather,
    get_rank,
    get_world_size,
    is_main_process,
    reduce_dict,
    synchronize,
)

__all__ = [
    "all_gather",
    "get_rank",
    "get_world_size",
    "is_main_process",
    "reduce_dict",
    "scatter_gather",
    "synchronize",
]

scatter_gather = gather  # its name until December 2018
