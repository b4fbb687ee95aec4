import PIL
from torch.utils.collect_env import get_pretty_env_info


def get_pil_version() -> str:
    return f"\n        Pillow ({PIL.__version__})"


def collect_env_info() -> str:
    """What a bug report needs: versions of Python, torch, CUDA, the system and its processors."""
    return get_pretty_env_info() + get_pil_version()


if __name__ == "__main__":
    print(collect_env_info())
