"""Sketches: stroke-3 and stroke-5 arrays, RDP simplification, and SVG in and out."""

from sketchembed.sketch.simplify import Distance, rdp
from sketchembed.sketch.strokes import START, Sketch, cairosvg, rainbow

__all__ = ["START", "Distance", "Sketch", "cairosvg", "rainbow", "rdp"]
