"""Every block of the documents has a language and a use; those of YAML are configurations."""

from __future__ import annotations

import re

import pytest

from maskrcnn_benchmark.config import cfg as defaults
from tests.docs.blocks import ROOT, RUN, blocks_of

LANGUAGES = ("shell", "python", "yaml", "text")


def test_blocks_are_found():
    text = 'a\n\n<!-- needs: a GPU -->\n```shell\nx\n```\n\n- b\n    ```python title="y.py"\n    if 1:\n        pass\n    ```\n'
    gpu, program = blocks_of(text)
    assert (gpu.language, gpu.needs, gpu.text, gpu.line) == ("shell", "a GPU", "x\n", 3)
    assert (program.title, program.needs, program.text) == ("y.py", "", "if 1:\n    pass\n")
    with pytest.raises(ValueError, match="needs a language"):
        blocks_of("```\nx\n```\n")


@pytest.mark.parametrize("document", RUN)
def test_blocks_say_what_they_are(document):
    text = (ROOT / document).read_text()
    blocks = blocks_of(text)
    assert len(re.findall("^ *```", text, re.MULTILINE)) == 2 * len(blocks), "a fence that is not closed"
    assert not re.search(r"^\n( {4}| {8})(mrb|python|make|torchrun|pip) ", text, re.MULTILINE), (
        "a command without a fence"
    )
    for block in blocks:
        assert block.language in LANGUAGES, block
        if block.title.endswith(".py"):
            compile(block.text, block.title, "exec")
            assert text.count(block.title) > 1, f"{block.title} is used by nothing"
    assert len(re.findall(r"<!-- needs: .+ -->", text)) == sum(bool(block.needs) for block in blocks), (
        "a mark of no block"
    )


@pytest.mark.parametrize("document", [name for name in RUN if "```yaml" in (ROOT / name).read_text()])
def test_yaml_is_a_configuration(document, tmp_path):
    for i, block in enumerate(blocks_of((ROOT / document).read_text())):
        if block.language == "yaml" and not block.needs:
            path = tmp_path / f"{i}.yaml"
            path.write_text(re.sub(r'^_BASE_: "(.*)"\n', "", block.text))
            cfg = defaults.clone()
            cfg.merge_from_file(str(path))
            assert cfg != defaults, block
