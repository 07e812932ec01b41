"""A picture for a page: an SVG that takes the page's colours and can stand beside others.

Ink is `currentColor`; what is drawn in colour has a default that is legible on white and on black, and a page may set
`--picture-first`, `--picture-second` and `--picture-third` to its own.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

FONT_SIZE = 11
INK = "currentColor"
FIRST = "var(--picture-first, #3d7fcc)"
SECOND = "var(--picture-second, #d9762b)"
THIRD = "var(--picture-third, #2f9d77)"

# No XML can hold these, which a piece of text may.
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Picture:
    """An SVG element to be put into a page, with its title and what a reader must know to read it; both plain text."""

    title: str
    caption: str
    svg: str


class Size(NamedTuple):
    """Width and height of a drawing; unit: pixels."""

    width: float
    height: float


def picture(title: str, caption: str, body: str, size: Size) -> Picture:
    """Make a picture of SVG elements, whose ids become unlike those of any other picture."""
    body = _with_own_ids(_NOT_IN_XML.sub("\ufffd", body), title)
    width, height = (f"{length:.0f}" for length in size)
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'aria-label="{xml_text(title)}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="{FONT_SIZE}" fill="{INK}" '
        f'style="max-width: 100%; height: auto">{body}</svg>'
    )
    return Picture(title, caption, svg)


def xml_text(text: str) -> str:
    """Return text as it stands within an element or an attribute."""
    return escape(_NOT_IN_XML.sub("\ufffd", text))


def _with_own_ids(body: str, title: str) -> str:
    """Begin the ids that something refers to with a mark of this picture, and drop the others."""
    mark = "p" + hashlib.sha256(f"{title}\n{body}".encode()).hexdigest()[:10]
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', body))
    body = re.sub(
        r' id="([^"]*)"', lambda found: f' id="{mark}-{found[1]}"' if found[1] in used else "", body
    )
    return re.sub(r'(url\(|href=")#', rf"\1#{mark}-", body)
