"""What mkdocs calls while it builds the site: generated pages, links out of docs/, and equations."""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

import command_line_page
import configuration_page
import repository_links

GENERATED = {
    "configuration keys": configuration_page.reference,
    "commands": command_line_page.reference,
}
MARK = re.compile(r"^<!-- generated: (.+) -->$", re.MULTILINE)
DISPLAYED, INLINE = re.compile(r"^\$\$\n(.+?)\n\$\$$", re.MULTILINE | re.DOTALL), re.compile(r"\$([^$\n]+)\$")

FIRST = re.compile(r'^<math(?! [^>]*display="block")', re.MULTILINE)  # would begin a block of HTML


def on_files(files: Files, config) -> Files:
    """Add the pages of files outside docs/."""
    for place, path in sorted(repository_links.outside_pages().items()):
        source = repository_links.ROOT / path
        if path.endswith(repository_links.IMAGES):
            files.append(File.generated(config, place, abs_src_path=str(source)))
        else:
            files.append(File.generated(config, place, content=repository_links.page_of(path, place)))
    return files


def on_page_markdown(markdown: str, page, config, files) -> str:
    """Fill in what is generated, lead links to pages of the site, and write equations as MathML, which needs no script."""
    place = page.file.src_uri
    outside = {place: path for place, path in repository_links.outside_pages().items()}
    document = outside.get(place, f"docs/{place}")
    markdown = MARK.sub(lambda found: GENERATED[found[1]](), markdown)
    if not place.startswith("source/") or document.endswith(".md"):
        markdown = repository_links.rewritten(markdown, document, place)
    if page.meta.get("math"):
        markdown = repository_links.outside_code(DISPLAYED, lambda m: convert(m[1], display="block"), markdown)
        markdown = repository_links.outside_code(INLINE, lambda m: convert(m[1]), markdown)
        markdown = FIRST.sub("&#8203;<math", markdown)
    return markdown
