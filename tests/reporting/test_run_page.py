import html
import html.parser
import itertools
import json
import os
import re

import pytest

from sketchembed.cli import main
from sketchembed.reporting import samples
from sketchembed.reporting.run_page import write_run_page
from sketchembed.runs.metrics import MAX_POINTS, read_curves

NAME = "run</script><img src=x onerror=alert(1)>"
TEMPERATURES = (0.0, 0.5)


def strokes(shift):
    return [[10 + shift, 10, 200, 20.5, 120, 220], [50, 50, 60 + shift, 90], [128, 128]]


def item(name, seen, step):
    drawn = [strokes(step), [] if step == 10 else strokes(9)]
    samples = [
        {"temperature": temperature, "strokes": rows}
        for temperature, rows in zip(TEMPERATURES, drawn, strict=True)
    ]
    return {"class": name, "seen": seen, "input": strokes(0), "samples": samples}


def write_run(folder, name=NAME, source="doodles", announcement="NOT QUICK, DRAW! <b>"):
    """Write a run of 30 steps with samples at 10, 20 and 30; the last line of metrics is incomplete."""
    (folder / "samples").mkdir()
    data = {"source": source, "announcement": announcement, "drawings": 1234, "classes_seen": 3}
    facts = {"name": name, "preset": "cpu", "max_steps": 40, "parameters": 2_074_555, "data": data}
    (folder / "run.json").write_text(json.dumps(facts))
    (folder / "config.yaml").write_text("model: {a: <b>&__RUN__}\n")
    rows = []
    for step in range(1, 31):
        train = {
            "loss": 3.0 / step,
            "stroke": 1 - step / 5,
            "pen": float("nan") if step == 5 else 1.0,
            "lr": 1e-3,
        }
        rows.append(
            {"step": step, "time": step / 2} | {f"train/{key}": value for key, value in train.items()}
        )
        if step % 10 == 0:
            rows.append({"step": step, "time": step / 2, "val/loss": 3.1 / step, "unseen/loss": None})
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"step": 31, "train/lo')
    for step in (10, 20, 30):
        items = [item("cat & <b>", True, step), item("moon</script>", False, step)]
        (folder / "samples" / f"step-{step:08d}.json").write_text(json.dumps({"step": step, "items": items}))
    return folder


def embedded(page):
    """Return the data embedded in the page, parsed as strictly as by a browser."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL
    )
    return json.loads(found[1], parse_constant=refuse)


def test_page_embeds_all_data_of_the_run(tmp_path):
    page = write_run_page(write_run(tmp_path))
    data = embedded(page)
    assert data["facts"]["name"] == NAME
    assert data["config"] == "model: {a: <b>&__RUN__}\n"
    assert data["curves"]["train/loss"]["step"] == list(range(1, 31))
    assert data["curves"]["train/pen"]["value"][3:6] == [1.0, None, 1.0]
    assert data["curves"]["unseen/loss"]["value"] == [None, None, None]
    assert [sample["step"] for sample in data["samples"]] == [10, 20, 30]
    assert data["samples"][1]["items"][1] == item("moon</script>", False, 20)


def test_texts_of_a_run_are_escaped_and_nothing_is_fetched(tmp_path):
    page = write_run_page(write_run(tmp_path))
    tags, open_tags = [], []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.append((tag, dict(attributes)))
            if tag != "meta":
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    parser = Parser()
    parser.feed(page.read_text())
    parser.close()
    assert open_tags == []
    assert sorted({tag for tag, _ in tags}) == sorted(
        {"html", "head", "meta", "title", "style", "body", "main", "nav", "a", "noscript", "script"}
    )
    assert sum(tag == "script" for tag, _ in tags) == 2
    assert [attributes["href"] for _, attributes in tags if "href" in attributes] == ["../index.html"]
    assert not any({"src", "onerror"} & set(attributes) for _, attributes in tags)
    assert not re.search(r"@import|url\(|fetch\(|__STYLE__|__SCRIPT__", page.read_text())
    addresses = re.findall(r"https?://[^\"'\s]+", page.read_text())
    assert set(addresses) == {"http://www.w3.org/2000/svg"}  # an XML namespace, never fetched


def test_rewriting_changes_nothing_and_leaves_no_files(tmp_path):
    before = {path.name for path in write_run(tmp_path).iterdir()}
    first = write_run_page(tmp_path).read_bytes()
    assert write_run_page(str(tmp_path)).read_bytes() == first
    assert {path.name for path in tmp_path.iterdir()} == before | {"index.html"}


def test_command_writes_the_page_of_a_run(tmp_path, capsys):
    run = tmp_path / "run"  # the page of all runs is written in its parent
    run.mkdir()
    main(["page", str(write_run(run))])
    assert capsys.readouterr().out == f"{run / 'index.html'}\n"
    assert embedded(run / "index.html")["facts"]["name"] == NAME


def test_page_is_replaced_atomically(tmp_path, monkeypatch):
    page = write_run_page(write_run(tmp_path))
    old = page.read_bytes()
    (tmp_path / "metrics.jsonl").unlink()
    seen = []

    def fail(source, destination):
        seen.append((page.read_bytes() == old, "</html>" in source.read_text(), destination))
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            write_run_page(tmp_path)
    assert seen == [(True, True, page)]
    assert page.read_bytes() == old
    assert not list(tmp_path.glob(".index*"))


def test_empty_folder_and_broken_files_still_give_a_page(tmp_path):
    empty = {"facts": {"name": tmp_path.name}, "config": "", "curves": {}, "samples": []}
    assert embedded(write_run_page(tmp_path)) == empty
    (tmp_path / "run.json").write_text('{"name": ')
    (tmp_path / "metrics.jsonl").write_text('[1]\nnot json\n{}\n{"step": null, "a": 1}\n{"step": "x"}\n7\n')
    (tmp_path / "samples").mkdir()
    for number, text in enumerate(('{"step": 1, "it', "[]", '{"step": 3}', "")):
        (tmp_path / "samples" / f"step-{number:08d}.json").write_text(text)
    assert embedded(write_run_page(tmp_path)) == empty


def test_values_that_are_not_finite_numbers_become_null(tmp_path):
    (tmp_path / "run.json").write_text(
        '{"name": "x", "a": NaN, "b": 1e999, "data": {"c": -Infinity, "d": 0.5}}'
    )
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "step-00000001.json").write_text(
        '{"step": 1, "items": [{"input": [[NaN, 1, 2, 3]]}]}'
    )
    huge = "1" + 400 * "0"
    (tmp_path / "metrics.jsonl").write_text(
        f'{{"step": 1, "a": {huge}, "b": "text", "c": true, "d": 1e999, "e": -Infinity}}'
    )
    data = embedded(write_run_page(tmp_path))
    assert data["facts"] == {"name": "x", "a": None, "b": None, "data": {"c": None, "d": 0.5}}
    assert data["samples"] == [{"step": 1, "items": [{"input": [[None, 1, 2, 3]]}]}]
    assert [curve["value"] for curve in data["curves"].values()] == [[None]] * 5


@pytest.mark.parametrize("count", [600, 601, 1199, 5000])
def test_thinned_curves_keep_both_ends_and_spikes(tmp_path, count):
    values = [float(step) for step in range(count)]
    values[count // 2] = 1e6
    lines = (json.dumps({"step": step, "time": step, "a": value}) for step, value in enumerate(values))
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    curve = read_curves(tmp_path / "metrics.jsonl")["a"]
    assert len(curve["step"]) == len(curve["value"]) == len(curve["time"]) == MAX_POINTS
    assert (curve["step"][0], curve["step"][-1]) == (0, count - 1)
    assert (curve["value"][0], curve["value"][-1]) == (0, count - 1)
    assert curve["step"] == sorted(set(curve["step"]))
    assert max(curve.get("high", curve["value"])) == 1e6
    if count > 600:
        assert min(curve["low"]) == 0
        assert all(
            low <= mean <= high
            for low, mean, high in zip(*(curve[k] for k in ("low", "value", "high")), strict=True)
        )


def test_thinned_curves_keep_gaps(tmp_path):
    rows = ({"step": step, "a": None if 1000 <= step < 1500 else 2.0} for step in range(3000))
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    curve = read_curves(tmp_path / "metrics.jsonl")["a"]
    missing = [step for step, value in zip(curve["step"], curve["value"], strict=True) if value is None]
    assert 1000 <= missing[0] < 1010
    assert 1490 <= missing[-1] < 1500
    assert {value for value in curve["value"] if value is not None} == {2.0}


def test_samples_are_thinned_evenly_and_keep_both_ends(tmp_path):
    (tmp_path / "samples").mkdir()
    for step in range(100):
        (tmp_path / "samples" / f"step-{step:08d}.json").write_text(json.dumps({"step": step, "items": []}))
    steps = [sample["step"] for sample in embedded(write_run_page(tmp_path))["samples"]]
    assert len(set(steps)) == len(steps) == samples.MAX_STEPS
    assert (steps[0], steps[-1]) == (0, 99)
    assert {after - before for before, after in itertools.pairwise(steps)} == {2, 3}


# ---- in a browser --------------------------------------------------------------------------------

# Chromium renders hardly any frames in virtual time, so a timer triggers them.
ACT = """<script>{
window.requestAnimationFrame = (frame) => setTimeout(() => frame(performance.now()), 16);
const all = (text) => [...document.querySelectorAll(text)], count = (text) => all(text).length;
const press = (text) => all("button").find((one) => one.textContent === text).click();
const key = (name, target = document.body) =>
  target.dispatchEvent(new KeyboardEvent("keydown", {key: name, bubbles: true}));
const seen = [];
const chart = document.querySelector(".chart"), box = chart.getBoundingClientRect();
chart.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left, clientY: box.top + 9}));
seen.push(document.querySelector("figcaption").innerText.replace(/\\s+/g, " "));
key("End", chart);
seen.push(document.querySelector("figcaption").innerText.replace(/\\s+/g, " "));
press("Log scale");
seen.push(all("figcaption b").map((one) => one.textContent).join("|"));
key("ArrowLeft"); key("ArrowLeft"); key("ArrowLeft");
seen.push(document.querySelector("output").textContent, count(".drawing path"), count(".drawing em"));
key("ArrowRight");
press("Colour strokes");
seen.push(document.querySelector("output").textContent);
seen.push(count(".drawing path"), count(".drawing path[style*=hsl]"));
press("Replay all");
setTimeout(() => {
  const [first, , last] = document.querySelector(".drawing").querySelectorAll("path");
  seen.push(first.style.strokeDasharray !== "", last.style.visibility);
}, 300);
setTimeout(() => {
  seen.push(count(".drawing path[style*=dash]"), count(".drawing circle"));
  document.documentElement.dataset.seen = JSON.stringify(seen);
}, 3500);
}</script></body>"""


@pytest.mark.browser
def test_browser_draws_the_whole_page_without_network(tmp_path, load_page):
    dom = load_page(write_run_page(write_run(tmp_path)))
    # Two items, each with an input and two samples of three strokes.
    assert len(re.findall(r'<path d="M[^"]*"></path>', dom)) == 2 * 3 * 3
    assert "M10,10L200,20.5L120,220" in dom
    assert "M40,10L200,20.5L120,220" in dom  # the last step's samples are shown first
    assert "M128,128L128,128" in dom
    assert dom.count('class="curve train"') == 4
    assert dom.count('class="curve val"') == 1
    assert 'class="curve unseen"' not in dom  # it has no finite value
    pen = re.search(r'pen loss over steps.*?class="curve train" d="([^"]*)"', dom, re.DOTALL)[1]
    assert (pen.count("M"), pen.count("L")) == (2, 27)  # 29 finite values, in two pieces
    slider = re.search(r'<input type="range"[^>]*>', dom)[0]
    assert 'max="2"' in slider
    assert 'aria-valuetext="step 30"' in slider
    assert "NOT QUICK, DRAW! &lt;b&gt;" in dom
    assert "cat &amp; &lt;b&gt;" in dom
    assert "Unseen classes (never trained on)" in dom
    assert "<img" not in dom
    assert "30 of 40 (75%)" in dom


@pytest.mark.browser
def test_page_controls_work_in_a_browser(tmp_path, load_page):
    page = write_run_page(write_run(tmp_path))
    page.write_text(page.read_text().replace("</body>", ACT))
    dom = load_page(page)
    seen = json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', dom)[1]))
    pointed, at_end, titles, first, drawn, empty, second, again, coloured, *replay = seen
    assert pointed == "total loss step 1 3 0.31 not finite"
    assert at_end == "total loss step 30 0.1 0.1033 not finite"
    assert titles.split("|")[:3] == ["total loss (log)", "stroke loss (log, both signs)", "pen loss"]
    # At the first step one sample of each item is empty.
    assert (first, drawn, empty) == ("step 10", 2 * 2 * 3, 2)
    assert (second, again, coloured) == ("step 20", 2 * 3 * 3, 2 * 3 * 3)
    # Soon after the start, the first stroke is partly visible and the last one is hidden.
    # At the end, all strokes are visible.
    assert replay == [True, "hidden", 0, 0]


@pytest.mark.browser
@pytest.mark.parametrize(("source", "warned"), [("quickdraw", False), ("omniglot", True)])
def test_page_announces_data_other_than_quickdraw(tmp_path, load_page, source, warned):
    dom = load_page(write_run_page(write_run(tmp_path, source=source, announcement=None)))
    assert ('class="banner"' in dom) is warned


@pytest.mark.browser
def test_new_run_has_a_page(tmp_path, load_page):
    dom = load_page(write_run_page(tmp_path))
    assert "No samples yet." in dom
    assert "No metrics yet." in dom


@pytest.mark.browser
def test_non_finite_steps_are_listed(tmp_path, load_page):
    write_run(tmp_path)
    facts = json.loads((tmp_path / "run.json").read_text())
    event = {"step": 1234, "what": "stroke is nan <b>", "action": "skip"}
    back = {"step": 1300, "what": "pen is inf", "action": "rollback", "to": 1250}
    facts["non_finite"] = {"skipped": 1, "rollbacks": 1, "events": [event, back]}
    (tmp_path / "run.json").write_text(json.dumps(facts))
    dom = load_page(write_run_page(tmp_path))
    assert "Steps with NaN or infinite values: 2" in dom
    assert "step 1,234: stroke is nan &lt;b&gt;; step skipped" in dom
    assert "step 1,300: pen is inf; went back to step 1250" in dom


def test_page_of_a_running_run_is_reloaded_while_nobody_uses_it(tmp_path, load_page):
    page = write_run_page(write_run(tmp_path), live=True)
    text = page.read_text()
    assert "data-live" in text
    assert "data-live" not in write_run_page(tmp_path).read_text()
    page.write_text(text.replace("60000", "1000").replace("location.reload()", "document.title = 'reloaded'"))
    assert "<title>reloaded</title>" in load_page(page)
    focused = page.read_text().replace(
        'root.dataset.ready = "yes"', 'root.dataset.ready = "yes"; document.querySelector("button").focus()'
    )
    page.write_text(focused)
    assert "<title>reloaded</title>" not in load_page(page)
