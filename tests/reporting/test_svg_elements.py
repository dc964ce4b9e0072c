import base64
import html
import json
import re

import pytest

from sketchembed.reporting.svg_elements import svg_uri

HOSTILE = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:h="http://www.w3.org/1999/xhtml" width="72pt" height="36pt"
     onload="top.document.title = 'run'" ONLOAD="top.document.title = 'run'">
  <script>top.document.title = 'run'</script>
  <style>@import "http://example.org/x.css"; p, * { visibility: hidden }</style>
  <path id="name" d="M0 0L9 9"/><use href="http://example.org/x.svg#b"/>
  <image href="http://example.org/x.png" onerror="top.document.title = 'run'"/>
  <foreignObject><h:p onclick="1">text</h:p></foreignObject>
</svg>"""
PAGE = """<!doctype html><html data-ready="yes" data-errors=""><title>calm</title><p id="name">text</p>
<img src="{}" alt="figure"><script>
addEventListener("load", () => {{
  const image = document.querySelector("img"), p = document.querySelector("p");
  document.documentElement.dataset.seen = JSON.stringify([
    image.naturalWidth, image.naturalHeight, document.title, getComputedStyle(p).visibility,
    document.querySelectorAll("#name").length,
    performance.getEntriesByType("resource").filter((one) => one.name.startsWith("http")).length,
  ]);
}});
</script></html>"""


def test_uri_encodes_the_document_as_base64():
    kind, content = svg_uri("\n" + HOSTILE).split(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(content, validate=True).decode() == HOSTILE


@pytest.mark.parametrize(
    "text",
    [
        *("", "<svg", "<html/>", "nothing", "<svg/>", "\ud800"),
        '<!DOCTYPE a [<!ENTITY b "c">]><svg xmlns="http://www.w3.org/2000/svg">&b;</svg>',
    ],
)
def test_invalid_svg_raises(text):
    with pytest.raises(ValueError, match="not SVG|surrogates"):
        svg_uri(text)


@pytest.mark.browser
def test_browser_shows_the_image_without_side_effects(tmp_path, load_page):
    (tmp_path / "a.html").write_text(PAGE.format(svg_uri(HOSTILE.replace(" ONLOAD", " data-x"))))
    dom = load_page(tmp_path / "a.html")
    seen = json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', dom)[1]))
    assert seen == [96, 48, "calm", "visible", 1, 0]
