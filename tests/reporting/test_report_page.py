import html.parser
import json
import os
import re

import pytest

from sketchembed.reporting.figures import drawing_as_svg, svg
from sketchembed.reporting.part import Drawings, Figure, Part, Table
from sketchembed.reporting.report_page import Entry, ReportPage

HOSTILE = "x</script><img src=x onerror=alert(1)>__SCRIPT__"
VOID = {"meta", "img", "br", "input"}


def figure(name):
    with drawing_as_svg() as plots:
        drawn, axes = plots.subplots(figsize=(4, 2))
        axes.plot([0, 1, 3], marker="o", label=name)
        axes.legend()
        return Figure(f"figure-{name}", f"The figure {name}", svg(drawn), f"What {HOSTILE} is")


def strokes(shift):
    return [[10 + shift, 10, 200, 20.5, 120, 220], [50, 50, 60 + shift, 90], [128, 128]]


def drawings(name, seen=None):
    red = {"colours": ["#f00", "#00f", "#f00"]} if seen else {}
    samples = [{"temperature": 0.5, "strokes": strokes(9), **red}, {"label": "by hand", "strokes": []}]
    item = {"class": name, "input": strokes(0), "samples": samples}
    return {**item, "seen": seen} if seen is not None else item


def full():
    table = Table(
        f"Table 7 {HOSTILE}",
        ["method", "R²", "accuracy", "what"],
        [[HOSTILE, 0.98765, "95.1 ± 0.2", "words"], ["theirs", None, float("nan"), "more"]],
        [["SketchEmbedding", "0.98", "96.37", ""]],
        "By `--count *3*`, *of* 2 * 3 * 4.",
    )
    one = Part(
        "probe",
        "A probe",
        "What was asked.\n\nAnd how <b>.",
        [table],
        [figure("one"), figure("two"), Figure("broken", "Broken", "<svg", "")],
        [
            Drawings("Some", [drawings("cat", True), drawings(HOSTILE, False)]),
            Drawings(
                "Others", [drawings("α"), {"class": "dot", "input": [[float("nan"), 1]], "samples": []}]
            ),
        ],
        facts={"model.step": 7, "count": 12345, HOSTILE: HOSTILE},
        seconds=3.25,
    )
    return ReportPage(
        f"Report on {HOSTILE}",
        "1 of 3 parts",
        {"step": 7, "missing": None},
        [
            Entry("probe", "A probe", "done", one),
            Entry("one-shot", HOSTILE, "failed", message=f"no data {HOSTILE}"),
            Entry("late", "To come"),
        ],
        {"Configuration": f"a: {HOSTILE}\n"},
        f"NOT QUICK, DRAW! {HOSTILE}",
        {"model.step": 7},
    )


class Parsed(html.parser.HTMLParser):
    """The elements of a page, and its texts by their enclosing element."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts = [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and data.strip():
            self.texts.setdefault(self.open[-1], []).append(data.strip())


def test_page_is_well_formed_and_escapes_texts():
    page = full().html()
    found = Parsed(page)
    assert found.open == []
    images = [attributes for tag, attributes in found.tags if tag == "img"]
    assert [one["alt"] for one in images] == ["The figure one", "The figure two"]
    assert all(one["src"].startswith("data:image/svg+xml;base64,") for one in images)
    assert sum(tag == "script" for tag, _ in found.tags) == 2
    known = [attributes for _, attributes in found.tags]
    assert not any(name.startswith("on") for one in known for name in one)
    assert sum("src" in one for one in known) == len(images)
    links = [one["href"] for one in known if "href" in one]
    assert links
    assert all(link.startswith("#") for link in links)
    identities = [one["id"] for one in known if "id" in one]
    assert len(set(identities)) == len(identities)
    assert {link[1:] for link in links} <= set(identities)
    assert HOSTILE in found.texts["h2"]
    assert any(HOSTILE in text for text in found.texts["pre"])
    assert any(HOSTILE in text for text in found.texts["div"])


def test_page_fetches_nothing():
    page = full().html()
    assert set(re.findall(r"https?://[^\"'\s<]+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttp|<link", page)
    assert "default-src 'none'" in page


def test_tables_mark_the_rows_of_the_paper():
    page = full().html()
    rows = re.findall(r'<tr( class="papers")?>(.*?)</tr>', page)
    assert [bool(mark) for mark, _ in rows] == [False, False, False, True]
    cells = [[re.sub("<[^>]*>", "", cell) for cell in re.split("</t[hd]>", row)[:-1]] for _, row in rows]
    assert cells[0] == ["method", "R²", "accuracy", "what"]
    assert cells[1][1:] == ["0.9877", "95.1 ± 0.2", "words"]
    assert cells[2] == ["theirs", "", "nan", "more"]
    assert cells[3] == ["SketchEmbedding paper", "0.98", "96.37", ""]
    # Cells with numbers are right-aligned, with or without an interval.
    assert rows[1][1].count('class="number"') == 2
    assert "By <code>--count *3*</code>, <em>of</em> 2 * 3 * 4." in page
    assert "Rows like" in page
    no_paper = full()
    no_paper.entries[0].part.tables[0].paper = []
    assert "Rows like" not in no_paper.html()


def test_parts_do_not_repeat_facts_of_the_page():
    page = full().html()
    assert "<dt>count</dt><dd>12,345</dd>" in page
    assert "<dt>computed in</dt><dd>3.25 s</dd>" in page
    assert "model.step" not in page
    assert "missing" not in page


def test_page_reports_missing_and_failed_content():
    page = full().html()
    assert "Not computed yet." in page
    assert re.search(r'<p class="failed" role="alert">no data x&lt;/script', page)
    assert "broken cannot be shown: not SVG" in page
    begun = ReportPage("Report", entries=[Entry("a", "A", "begun", message="since 12:00.")])
    assert "In progress since 12:00." in begun.html()


def test_page_embeds_drawings_as_strict_json():
    def refuse(constant):
        raise AssertionError(constant)

    page = full().html()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    sets = json.loads(found, parse_constant=refuse)
    assert [[item["class"] for item in items] for items in sets] == [["cat", HOSTILE], ["α", "dot"]]
    assert sets[1][1]["input"] == [[None, 1]]
    assert re.findall(r'data-drawings="(\d)"', page) == ["0", "1"]


def test_page_is_replaced_atomically(tmp_path, monkeypatch):
    path = full().write(tmp_path / "out" / "report.html")
    old = path.read_bytes()

    def fail(source, destination):
        assert path.read_bytes() == old
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        ReportPage("Another").write(path)
    assert path.read_bytes() == old
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


# ---- in a browser --------------------------------------------------------------------------------

# Chromium renders hardly any frames in virtual time, so a timer triggers them.
ACT = """<script>{
const all = (text) => [...document.querySelectorAll(text)], count = (text) => all(text).length;
const press = (text) => all("button").filter((one) => one.textContent === text)[0].click();
const seen = [count(".drawing path"), count(".drawing em"), count("figure img"), count("table")];
const red = all(".drawing path").filter((one) => getComputedStyle(one).stroke === "rgb(255, 0, 0)");
press("Colour strokes");
seen.push(count(".drawing path[style*=hsl]"));
const styles = (one) => getComputedStyle(one).strokeLinecap;
seen.push(styles(document.querySelector(".drawing path")));
window.requestAnimationFrame = (frame) => setTimeout(() => frame(performance.now()), 16);
press("Replay all");
setTimeout(() => {
  const [first, , last] = document.querySelector(".drawing").querySelectorAll("path");
  seen.push(first.style.strokeDasharray !== "", last.style.visibility);
}, 300);
setTimeout(() => {
  seen.push(count(".drawing path[style*=dash]"), count(".drawing circle"));
  seen.push(performance.getEntriesByType("resource").length);
  seen.push(red.length);
  seen.push(document.documentElement.scrollWidth <= innerWidth);
  document.documentElement.dataset.seen = JSON.stringify(seen);
}, 3500);
}</script></body>"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 500])
def test_browser_shows_and_replays_the_page(tmp_path, load_page, width):
    path = full().write(tmp_path / "report.html")
    path.write_text(path.read_text().replace("</body>", ACT))
    dom = load_page(path, f"--window-size={width},1600")
    seen = json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', dom)[1]))
    # Three items have an input and a sample of three strokes each, and an empty sample. One item is empty.
    assert seen[:2] == [3 * 2 * 3, 3 + 1]
    # The broken figure has no image.
    assert seen[2:4] == [2, 1]
    assert seen[4] == 2 * 2 * 3
    assert seen[5] == "round"
    assert seen[6:10] == [True, "hidden", 0, 0]
    resources, red, fits = seen[10:]
    assert (resources, red) == (0, 2)
    assert fits
    assert "Unseen classes (never trained on)" in dom
    assert "by hand" in dom
    assert dom.count("<img") == 2
