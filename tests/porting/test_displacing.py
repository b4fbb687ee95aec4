"""A fork's new file that has the path of a module of ours."""

import ast

import pytest

from maskrcnn_benchmark.porting.displacing import SUFFIX, displaced, with_new_names


def test_only_files_of_the_package_that_are_ours_alone_are_moved():
    ours = ["engine/predictor.py", "config/options.py", "ops/__init__.py"]
    paths = ["core/engine/predictor.py", "core/engine/other.py", "tools/predictor.py", "core/ops/__init__.py"]
    assert displaced(paths, "core", ours) == {"engine.predictor": f"engine.predictor{SUFFIX}"}


@pytest.mark.parametrize(
    "line",
    [
        "from core.engine.predictor import Predictor",
        "import core.engine.predictor",
        "from core.engine import predictor",
        "from core.engine import (\n    other,\n    predictor,\n)",
        "    from core.engine import predictor as name",
        "from .predictor import Predictor",
        "from . import predictor",
    ],
)
def test_every_form_of_import_finds_it(line):
    moved = {"engine.predictor": f"engine.predictor{SUFFIX}"}
    (statement,) = ast.parse(with_new_names(line, "core", moved).strip()).body
    names = {f"{getattr(statement, 'module', None)}.{alias.name}" for alias in statement.names}
    assert any(SUFFIX in name for name in names)
    bound = {alias.asname or alias.name for alias in statement.names}
    wanted = {alias.asname or alias.name for alias in ast.parse(line.strip()).body[0].names}
    assert bound == wanted or line.startswith("import")


def test_other_modules_of_the_name_stay():
    line = "from core.modeling import predictor\nfrom core.engine.predictor_options import x"
    assert with_new_names(line, "core", {"engine.predictor": f"engine.predictor{SUFFIX}"}) == line
