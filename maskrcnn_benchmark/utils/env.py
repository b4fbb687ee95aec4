"""A hook that runs before anything else of a program: a fork's own paths, proxies, plug-ins.

It runs when this module is imported, which every command does first.
"""

import os

from maskrcnn_benchmark.engine.errors import NoSetupError
from maskrcnn_benchmark.utils.imports import import_file
from maskrcnn_benchmark.utils.registered import ENV_MODULE


def setup_environment() -> None:
    """Run the setup_environment() of the module that the environment variable TORCH_DETECTRON_ENV_MODULE names, if it is set."""
    path = os.environ.get(ENV_MODULE)
    if path:
        setup_custom_environment(path)


def setup_custom_environment(custom_module_path: str) -> None:
    """Import a Python file and call its setup_environment(). Raises NoSetupError, a FileNotFoundError and ValueError."""
    if not os.path.isfile(custom_module_path):
        raise NoSetupError(f"There is no Python file {custom_module_path!r} ({ENV_MODULE} names it).")
    module = import_file("maskrcnn_benchmark.utils.env.custom_module", custom_module_path)
    setup = getattr(module, "setup_environment", None)
    if not callable(setup):
        raise NoSetupError(f"{custom_module_path} defines no function setup_environment() ({ENV_MODULE} names it).")
    setup()


setup_environment()
