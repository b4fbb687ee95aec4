"""Real images with labels as their makers published them: the folders beside the one that MRB_TEST_COCO names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

COCO = Path(os.environ.get("MRB_TEST_COCO", "nowhere"))
AERIAL, BCCD = COCO.parent / "aerial_cars", COCO.parent / "bccd"


def needs(folder: Path) -> pytest.MarkDecorator:
    """Skip a test where this set is not there."""
    reason = f"there is no folder {folder.name} beside the one that MRB_TEST_COCO names"
    return pytest.mark.skipif("MRB_TEST_COCO" not in os.environ or not folder.is_dir(), reason=reason)
