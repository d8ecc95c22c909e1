"""Pieces of an HTML page that stands alone: nothing in it runs, and nothing is fetched."""

import base64
import io
from collections.abc import Sequence
from html import escape

from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

STYLE = """
:root { color-scheme: light }
body { font: 15px/1.45 system-ui, sans-serif; color: #222; background: #fff; max-width: 1080px; margin: 0 auto;
  padding: 12px }
h1 { font-size: 1.5em; margin: .3em 0 } h2 { font-size: 1.15em; margin: 1.6em 0 .4em; break-after: avoid }
p { margin: .4em 0; max-width: 75ch }
.row { display: flex; flex-wrap: wrap; gap: 10px; align-items: flex-start; align-content: flex-start }
.wide figure { width: calc(33.3% - 7px) }
.middle figure { width: calc(25% - 8px) } .narrow figure { width: calc(25% - 8px); min-width: 150px }
@media (max-width: 800px) { .middle figure { width: calc(50% - 5px) } }
@media (max-width: 600px) { .wide figure, .middle figure { width: 100% } }
figure { margin: 0; break-inside: avoid } figcaption { font-size: .87em; color: #444 }
img { width: 100%; height: auto; display: block; border: 1px solid #ddd; box-sizing: border-box }
table { border-collapse: collapse; font-size: .87em; font-variant-numeric: tabular-nums } th { text-align: left }
td { white-space: nowrap }
td:first-child { overflow-wrap: anywhere; white-space: normal; min-width: 8em } td:last-child { white-space: normal }
th, td { padding: 2px 10px 2px 0; border-bottom: 1px solid #e4e4e4; vertical-align: top }
.small { font-size: .8em; columns: 320px }
.small p { margin: 0; overflow-wrap: anywhere }
svg { width: 100%; max-width: 340px; height: auto; display: block }
"""


def page(title: str, heading: str, body: str) -> str:
    """A whole document; `body` is HTML, the others are text."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{escape(heading)}</h1>\n{body}</body></html>\n"
    )


def paragraph(text: str) -> str:
    """Of plain text."""
    return f"<p>{escape(text)}</p>\n"


def side_by_side(kind: str, figures: Sequence[str]) -> str:
    """Figures in rows; `kind`: "wide" (three in a row), "middle" or "narrow" (four), fewer on a small screen."""
    return f'<div class="row {kind}">\n{"".join(figures)}</div>\n'


def figure(picture: UInt8[ndarray, "h w 3"], caption: str, kind: str = "JPEG") -> str:
    """A picture, which the page holds, over its caption; `kind`: "JPEG", or "PNG" for lines and letters."""
    data, text = io.BytesIO(), escape(caption)
    Image.fromarray(picture).save(data, kind, quality=88, subsampling=0, optimize=True)
    code = base64.b64encode(data.getvalue()).decode()
    height, width = picture.shape[:2]
    source = f"data:image/{kind.lower()};base64,{code}"
    image = f'<img src="{source}" width="{width}" height="{height}" alt="{text}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Of plain texts."""
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>\n" for line in lines) + "</table>\n"


def number(value: float | None) -> str:
    """As tables have it; a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"
