"""HTML pages that stand by themselves, to be read in light and in dark."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np

from maskrcnn_benchmark.utils.files import write_text
from maskrcnn_benchmark.utils.wording import counted

MOST_BYTES = 5_000_000
MOST_TEXT = 200_000  # characters of a long text
QUALITY = 82  # of JPEG

# The browser refuses whatever is not in the page itself.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark; --back: light-dark(#f3f5f8, #14171c); --card: light-dark(#fff, #1d222a);
  --ink: light-dark(#1a222e, #e8ebf0); --soft: light-dark(#515b69, #a9b3c1); --rule: light-dark(#dfe3ea, #323945);
  --bar: light-dark(#9dc4ee, #31598a); --link: light-dark(#174fb8, #8ab4ff);
  --c0: light-dark(#0072b2, #56b4e9); --c1: light-dark(#d55e00, #e69f00); --c2: light-dark(#00795a, #2fc79a);
  --c3: light-dark(#a6437d, #cc79a7); --c4: light-dark(#7a5c00, #f0e442); --c5: light-dark(#000, #fff); }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 20px clamp(10px, 3vw, 24px) 48px; max-width: 1180px; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; overflow-wrap: anywhere; } h2 { font-size: 19px; margin: 0 0 12px; }
h3 { font-size: 16px; margin: 18px 0 6px; } p { margin: 0 0 10px; }
.soft, figcaption { color: var(--soft); } a { color: var(--link); }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 16px 18px; margin-top: 16px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 12px 4px 0; text-align: left; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } td.number, th.number { text-align: right; }
td.text { overflow-wrap: anywhere; min-width: 60px; }
td.long { overflow-wrap: anywhere; font-family: ui-monospace, monospace; font-size: 14px; }
.bar { display: inline-block; height: 10px; border-radius: 3px; background: var(--bar); vertical-align: middle; }
.grid { display: grid; gap: 18px; grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr)); }
.crops { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(124px, 1fr)); }
.name { white-space: nowrap; margin-left: 6px; } h3 + .wide { margin-bottom: 12px; } .wide + .grid { margin-top: 14px; }
figure { margin: 0; }
figure img { width: 100%; height: auto; border-radius: 6px; display: block; } figcaption { font-size: 14px; }
pre { overflow: auto; max-height: 420px; margin: 8px 0 0; font: 13px/1.45 ui-monospace, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
summary { cursor: pointer; } svg { width: 100%; height: auto; display: block; } svg text { fill: var(--soft); font-size: 11px; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
"""


NAME = "report.html"  # of a page, in the folder of what it reports on
# Around the errors of a test in its page, which the page of its training shows as well.
ERRORS, ERRORS_END = "<!-- errors -->", "<!-- end of errors -->"
# Sizes of objects as their metrics call them (APs), and what they mean.
SIZES = {"s": "small", "m": "medium", "l": "large", "t": "tiny", "vt": "very tiny"}


class Markup(str):
    """Text that is HTML already."""


def escaped(value: Any) -> Markup:
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def subtitle(text: Any) -> Markup:
    return Markup(f"<h3>{escaped(text)}</h3>")


def paragraph(text: Any, soft: bool = False) -> Markup:
    return Markup(f"<p{' class=soft' if soft else ''}>{escaped(text)}</p>")


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], numbers: bool = True) -> Markup:
    """A table; with `numbers` all columns but the first stand at the right."""

    def cell(name: str, place: int, value: Any) -> str:
        kind = ' class="number"' if numbers and place and not isinstance(value, Markup) else ""
        kind = kind if numbers else ' class="text"'
        scope = ' scope="col"' if name == "th" else ""
        return f"<{name}{kind}{scope}>{escaped(value)}</{name}>"

    lines = ["".join(cell("td", i, value) for i, value in enumerate(row)) for row in rows]
    header = "".join(cell("th", i, value) for i, value in enumerate(head))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return Markup(
        f'<div class="wide" tabindex="0" role="group" aria-label="{escaped(" ".join(map(str, head)) or "Table")}"><table>'
        f"<thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def facts(pairs: Iterable[tuple[str, Any]]) -> Markup:
    """Names and values below each other."""
    rows = "".join(
        f'<tr><th scope="row">{escaped(name)}</th><td class="long">{escaped(value)}</td></tr>' for name, value in pairs
    )
    return Markup(f"<table><tbody>{rows}</tbody></table>")


def bar(share: float) -> Markup:
    """A bar for a fraction of one."""
    width = round(120 * min(max(share, 0.0), 1.0)) if share == share else 0
    return Markup(f'<span class="bar" style="width:{width}px"></span>')


def long_text(title: str, text: str) -> Markup:
    """A text that is unfolded when it is wanted."""
    cut = (
        text
        if len(text) <= MOST_TEXT
        else f"{text[:MOST_TEXT]}\n… and {counted(len(text) - MOST_TEXT, 'character')} more"
    )
    return Markup(f'<details><summary>{escaped(title)}</summary><pre tabindex="0">{escaped(cut)}</pre></details>')


def picture(image: np.ndarray, caption: Any) -> Markup:
    """An image, uint8 [H, W, 3], BGR, with what stands below it."""
    content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    data = base64.b64encode(content).decode("ascii")
    said = escaped(caption)
    return Markup(
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="{said}" width="{image.shape[1]}" '
        f'height="{image.shape[0]}"><figcaption>{said}</figcaption></figure>'
    )


def joined(parts: Iterable[Markup], kind: str = "") -> Markup:
    inner = "".join(parts)
    return Markup(f'<div class="{kind}">{inner}</div>' if kind else inner)


def section(title: str, *parts: Markup) -> Markup:
    return Markup(f"<section><h2>{escaped(title)}</h2>{''.join(parts)}</section>")


def write_page(path: str, title: str, said: str, sections: Iterable[Markup]) -> None:
    """Write a page, whole or not at all. Raises ValueError for one that is too large to be opened with pleasure."""
    text = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header><h1>{escaped(title)}</h1>"
        f"{paragraph(said, soft=True)}</header>\n<main>\n" + "\n".join(sections) + "\n</main>\n</body>\n</html>\n"
    )
    if len(text.encode()) > MOST_BYTES:
        raise ValueError(
            f"The page would have {len(text.encode()):,} bytes, and may have {MOST_BYTES:,}; it is left out."
        )
    write_text(path, text)
