"""Every rule, in the order in which they see a node."""

from __future__ import annotations

from . import imports

ALL = [*imports.RULES]
