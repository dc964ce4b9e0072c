"""SVG documents as parts of one HTML page: harmless, and out of each other's way."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

SVG = "http://www.w3.org/2000/svg"
DRAWING = frozenset(
    (
        *("svg", "g", "defs", "use", "symbol", "style", "title", "desc", "image"),
        *("path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "tspan", "textPath"),
        *("clipPath", "mask", "pattern", "marker", "linearGradient", "radialGradient", "stop"),
    )
)
"""What is taken over; scripts, links, animations, and other languages are left out, with all in them."""
KEPT_NAMES: dict[str, str] = {
    "{http://www.w3.org/XML/1998/namespace}space": "xml:space",
    "{http://www.w3.org/1999/xlink}href": "href",
}
CASED = frozenset(
    (
        *("viewBox", "preserveAspectRatio", "gradientUnits", "gradientTransform", "patternUnits"),
        *("patternContentUnits", "patternTransform", "clipPathUnits", "maskUnits", "maskContentUnits"),
        *("markerWidth", "markerHeight", "markerUnits", "refX", "refY", "textLength", "lengthAdjust"),
        *("startOffset", "spreadMethod", "pathLength"),
    )
)
"""Attributes with capital letters."""
PIXELS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4}


@lru_cache(maxsize=256)
def inline_svg(svg: str, prefix: str, label: str = "") -> str:
    """Return an SVG document as an element for an HTML page.

    Names within it get a prefix and its style sheets apply to it alone, since all of a page share both.
    Nothing in it runs or is fetched. It is as wide as it says, through the CSS variable ``--width``, which
    the page's style may make smaller.

    Args:
        svg: the document.
        prefix: of its names; also the element's own name.
        label: what a screen reader says.

    Raises:
        ValueError: if it is no SVG.
    """
    try:
        root = fromstring(svg.strip())
    except (ElementTree.ParseError, DefusedXmlException, LookupError) as error:
        raise ValueError(f"no SVG ({error})") from error
    try:
        return _inlined(root, prefix, label)
    except RecursionError:
        raise ValueError("SVG of elements within elements without end") from None


def _inlined(root: Any, prefix: str, label: str) -> str:
    if _local(root) != "svg":
        raise ValueError(f"<{_local(root)}> is no SVG")
    width, height = (_pixels(root.get(name, "")) for name in ("width", "height"))
    view = root.get("viewBox") or (f"0 0 {width:g} {height:g}" if width and height else "")
    _clean(root, prefix)
    for name in ("width", "height", "style"):
        root.attrib.pop(name, None)
    root.attrib |= {"xmlns": SVG, "id": prefix, "role": "img"}
    if label:
        root.set("aria-label", label)
    if view:
        root.set("viewBox", view)
    if width:
        root.set("style", f"--width: {width:.0f}px")
    return ElementTree.tostring(root, encoding="unicode")


def _local(element: Any) -> str:
    """Return an element's name without its name space; empty for one of another language."""
    space, _, name = str(element.tag).rpartition("}")
    return name if space in ("", "{" + SVG) else ""


def _clean(element: Any, prefix: str) -> None:
    element.tag = _local(element)
    attributes: dict[str, str] = dict(element.attrib)
    element.attrib.clear()
    for name, value in attributes.items():
        # A browser takes ONLOAD in a page's SVG for onload.
        name = KEPT_NAMES.get(name, name if name in CASED else name.lower())
        kept = _attribute(element.tag, name, value, prefix)
        if kept is not None:
            element.set(name, kept)
    if element.tag == "style":
        element.text = scoped(element.text or "", prefix)
    before = None
    for child in list(element):
        if _local(child) in DRAWING:
            _clean(child, prefix)
            before = child
            continue
        # The text after what is left out stays.
        if before is None:
            element.text = (element.text or "") + (child.tail or "")
        else:
            before.tail = (before.tail or "") + (child.tail or "")
        element.remove(child)


def _attribute(tag: str, name: str, value: str, prefix: str) -> str | None:
    """Return an attribute's value with the names in it prefixed; None to leave it out."""
    if name.startswith(("{", "on")) or name == "xmlns":
        return None
    if name == "id":
        return f"{prefix}-{value}"
    if name == "href":
        if value.startswith("#"):
            return f"#{prefix}-{value[1:]}"
        return value if tag == "image" and re.match(r"data:image/(png|jpeg|gif|webp);", value) else None
    return _addresses(value, prefix)


def _addresses(text: str, prefix: str) -> str | None:
    """Return a value of CSS in which addresses within the document are prefixed; None if there are others."""
    text = re.sub(r"url\(\s*[\"']?#([^\"')]+)[\"']?\s*\)", rf"url(#{prefix}-\1)", text)
    return None if re.search(r"url\((?!#)|image-set\(|@import|\\", text) else text


def scoped(css: str, prefix: str) -> str:
    """Return a style sheet that applies within the element of this name alone; empty if it fetches anything.

    Args:
        css: rules of selectors and declarations, at most within ``@media``.
        prefix: the element's name.
    """
    kept = _addresses(re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL), prefix) or ""

    def select(found: re.Match[str]) -> str:
        if found[1].lstrip().startswith("@"):
            return found[0]
        names = re.sub(r"#(?=[A-Za-z_])", f"#{prefix}-", found[1])
        return ", ".join(f"#{prefix} {one.strip()}" for one in names.split(",")) + " {"

    return re.sub(r"([^{}]+)\{", select, kept)


def _pixels(length: str) -> float:
    """Return a length in CSS pixels; 0 if it is none, or relative."""
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]*)\s*", length)
    return float(found[1]) * PIXELS.get(found[2], 0.0) if found else 0.0
