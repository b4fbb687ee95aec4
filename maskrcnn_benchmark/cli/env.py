"""Print what a bug report needs: versions of Python, torch, CUDA, the system and its processors."""

import argparse

from maskrcnn_benchmark.utils.collect_env import collect_env_info


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(collect_env_info())
