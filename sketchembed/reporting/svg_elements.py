"""Building blocks of the project's SVG figures and pages: colours, texts, and strokes for replay."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from sketchembed.sketch import Sketch

INK, GREY, FRAME, SHADE = "#15171a", "#5f6771", "#dfe3e8", "#eef1f4"
"""Colours of lines, notes and frames, and of the background of given images."""
BOX = 255.0
"""Side of the square that contains the strokes of a run's samples and of a page."""


def text(
    x: float | int,
    y: float | int,
    words: str,
    size: float | int,
    colour: str = "#1c1f23",
    anchor: str = "start",
    weight: str = "normal",
) -> str:
    """Return a line of text as an SVG element."""
    # XML cannot represent control characters, not even escaped.
    shown = escape("".join(letter if letter.isprintable() else " " for letter in words))
    return (
        f'<text x="{x:g}" y="{y:g}" font-family="Helvetica, Arial, sans-serif" font-size="{size:g}" '
        f'font-weight="{weight}" text-anchor="{anchor}" fill="{colour}">{shown}</text>'
    )


def svg_document(width: float | int, height: float | int, elements: Sequence[str]) -> str:
    """Return an SVG document with a white background, ``width`` and ``height`` in pixels."""
    background = f'<rect width="{width:g}" height="{height:g}" fill="white"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
    head += f'viewBox="0 0 {width:g} {height:g}">'
    return "\n".join([head, background, *elements, "</svg>\n"])


def svg_uri(svg: str) -> str:
    """Return an SVG document as a ``data:`` URI for an ``<img>`` element.

    Browsers neither run scripts nor load other resources in such an image, and its names and styles are
    separate from those of the page.

    Raises:
        ValueError: if the text is not well-formed SVG.
    """
    try:
        root = fromstring(svg.strip())
    except (ParseError, DefusedXmlException, LookupError) as error:
        raise ValueError(f"not SVG ({error})") from error
    if root.tag != "{http://www.w3.org/2000/svg}svg":
        raise ValueError(f"not SVG (the root element is {root.tag})")
    return "data:image/svg+xml;base64," + base64.b64encode(svg.strip().encode()).decode()


def boxed(sketch: Sketch) -> list[list[float]]:
    """Return the strokes as flat lists of coordinates in 0..255, rounded to tenths, for replay on a page."""
    if not len(sketch):
        return []
    return [[round(float(value), 1) for value in stroke.reshape(-1)] for stroke in sketch.fit(BOX, 8).strokes]
