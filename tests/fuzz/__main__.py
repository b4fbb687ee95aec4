"""Many inputs of some kinds: python -m tests.fuzz --cases 100000 pth pkl yaml options requests images coco voc forms results"""

import argparse
import logging
import sys
import time
from collections import Counter

import torch

from maskrcnn_benchmark.utils.progress_bar import progress_bar
from tests.fuzz.driver import in_processes
from tests.fuzz.kinds import KINDS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=list(KINDS), help=f"of {', '.join(KINDS)} (default: all)")
    parser.add_argument("--cases", type=int, default=1000, help="inputs of each kind (1000)")
    parser.add_argument("--seed", type=int, default=0, help="the first one's (0)")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--most", type=int, default=20, help="other ends that are printed of each kind (20)")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    faults = 0
    for name in args.kinds:
        began, ends, found = time.perf_counter(), Counter[str](), []
        with progress_bar(total=args.cases, desc=name) as bar:
            for done, outcome in in_processes(KINDS[name], args.seed, args.cases, args.processes):
                ends += outcome.ends
                found += outcome.faults
                bar.update(done)
        for seed, wrong in found[: args.most]:
            print(f"{name} --seed {seed}: {wrong.strip()}")
        seconds = time.perf_counter() - began
        counts = ", ".join(f"{end} {count:,}" for end, count in ends.most_common())
        print(
            f"{name}: {args.cases:,} inputs in {seconds:.0f} s: {counts}; {len(found)} that are not allowed", flush=True
        )
        faults += len(found)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
