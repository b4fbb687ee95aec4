"""Print what a bug report needs: versions of Python, torch, CUDA, the system and its processors."""

from maskrcnn_benchmark.config.command_line import CommandParser
from maskrcnn_benchmark.utils.collect_env import collect_env_info


def build_parser() -> CommandParser:
    return CommandParser(description=__doc__)


def main() -> None:
    build_parser().parse_args()
    print(collect_env_info())
