"""Every rule, in the order in which they see a node."""

from __future__ import annotations

from ..source import NodeRule
from . import arguments, devices, images, imports, python_calls, tensors, torch_calls

# Calls first: the name that they call may be in the table of moved names, too.
ALL: list[tuple[type, NodeRule]] = [
    *torch_calls.RULES,
    *python_calls.RULES,
    *arguments.RULES,
    *images.RULES,
    *tensors.RULES,
    *devices.RULES,
    *imports.RULES,
]
