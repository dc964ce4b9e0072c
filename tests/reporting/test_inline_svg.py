import re
from xml.etree import ElementTree

import numpy as np
import pytest

from sketchembed.reporting.figures import drawing_as_svg, svg
from sketchembed.reporting.inline_svg import inline_svg, scoped

NAMESPACE = "{http://www.w3.org/2000/svg}"
HOSTILE = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
     xmlns:h="http://www.w3.org/1999/xhtml" width="72pt" height="36pt" onload="alert(1)">
  <script>alert(2)</script><h:p>out</h:p><p>out</p><a xlink:href="javascript:alert(3)"><text>linked</text></a>
  <style>* {fill: none} @media print { .a, #b { stroke: red } }</style>
  <style>@import "http://example.org/x.css"; .c {fill: red}</style>
  <defs><path id="b" d="M0 0"/><animate xlink:href="#b" attributeName="href"/></defs>
  <use xlink:href="#b"/><use href="http://example.org/x.svg#b"/>
  <image href="http://example.org/x.png"/><image xlink:href="data:image/png;base64,AAAA"/>
  <g clip-path="url(#clip)" style="fill: url( '#b' )"><text x="1">&lt;/svg&gt; kept</text></g>
  <rect fill="url(http://example.org/x)" onclick="alert(4)" width="3"/>
</svg>"""


def test_nothing_in_it_runs_or_is_fetched():
    text = inline_svg(HOSTILE, "f1", 'a "label" <b>')
    dangers = r"script|alert|example\.org|javascript|animate|import|out|linked|<p[ >]|onload"
    assert not re.search(dangers, text)
    root = ElementTree.fromstring(text)
    assert root.get("aria-label") == 'a "label" <b>'
    # 72 pt are an inch, 96 pixels.
    assert (root.get("viewBox"), root.get("style"), root.get("width")) == ("0 0 96 48", "--width: 96px", None)
    assert [one.get("href") for one in root.iter(f"{NAMESPACE}use")] == ["#f1-b", None]
    assert [one.get("href") for one in root.iter(f"{NAMESPACE}image")] == [None, "data:image/png;base64,AAAA"]
    (group,) = root.iter(f"{NAMESPACE}g")
    assert group.attrib == {"clip-path": "url(#f1-clip)", "style": "fill: url(#f1-b)"}
    assert "".join(group.itertext()) == "</svg> kept"
    assert "&lt;/svg&gt; kept" in text
    assert root.find(f"{NAMESPACE}rect").attrib == {"width": "3"}


def test_style_sheets_apply_to_their_own_picture_alone():
    assert scoped("* {fill: none} @media print { .a, #b { stroke: red } }", "f1") == (
        "#f1 * {fill: none} @media print {#f1 .a, #f1 #f1-b { stroke: red } }"
    )
    assert scoped("/* , { */ text{fill:#fff}", "f1") == "#f1 text {fill:#fff}"
    assert scoped(".a{background:url(x.png)}", "f1") == ""


def test_two_figures_share_no_names_and_their_references_resolve():
    def figure(seed):
        with drawing_as_svg() as plots:
            drawn, axes = plots.subplots(figsize=(3, 2))
            axes.plot(np.random.default_rng(seed).random(9), marker="o")
            axes.imshow(np.eye(3))
            return svg(drawn)

    one, two = (inline_svg(figure(seed), f"f{seed}") for seed in (1, 2))
    names = [set(re.findall(r' id="([^"]+)"', text)) for text in (one, two)]
    assert not names[0] & names[1]
    assert len(names[0]) > 5
    for text, known in zip((one, two), names, strict=True):
        asked = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))
        assert asked
        assert asked <= known
        assert 'href="data:image/png' in text


@pytest.mark.parametrize(
    "text", ["", "<svg", "<html/>", "nothing", '<!DOCTYPE a [<!ENTITY b "c">]><svg>&b;</svg>']
)
def test_what_is_no_svg_is_refused(text):
    with pytest.raises(ValueError, match="no SVG"):
        inline_svg(text, "f")
