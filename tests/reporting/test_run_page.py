import html.parser
import json
import re
import shutil
import subprocess

import pytest

from sketchembed.reporting import run_page
from sketchembed.reporting.run_page import write_run_page

NAME = "run</script><img src=x onerror=alert(1)>"


def strokes(shift):
    return [[10 + shift, 10, 200, 20, 120, 220], [50, 50, 60 + shift, 90], [128, 128]]


def fill(folder, steps=3, name=NAME):
    (folder / "samples").mkdir()
    facts = {
        "name": name,
        "preset": "cpu",
        "finished": True,
        "max_steps": 10 * steps,
        "parameters": 2_074_555,
    }
    facts["data"] = {
        "source": "doodles",
        "announcement": "NOT QUICK, DRAW!",
        "drawings": 1234,
        "classes_seen": 3,
    }
    (folder / "run.json").write_text(json.dumps(facts))
    (folder / "config.yaml").write_text("model: {a: <b>&}\n")
    lines = []
    for step in range(1, 10 * steps + 1):
        row = {
            "step": step,
            "time": step / 2,
            "train/loss": 3.0 / step,
            "train/stroke": 2.0 / step,
            "train/lr": 1e-3,
        }
        lines.append(json.dumps(row))
        if step % 10 == 0:
            lines.append(
                json.dumps({"step": step, "time": step / 2, "val/loss": 3.1 / step, "unseen/loss": None})
            )
    (folder / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 31, "train/lo')
    for step in range(10, 10 * steps + 1, 10):
        items = [
            {
                "class": "cat & <b>" if seen else "moon",
                "seen": seen,
                "input": strokes(0),
                "samples": [
                    {"temperature": 0.0, "strokes": strokes(step)},
                    {"temperature": 0.5, "strokes": [] if step == 10 else strokes(9)},
                ],
            }
            for seen in (True, False)
        ]
        (folder / "samples" / f"step-{step:08d}.json").write_text(json.dumps({"step": step, "items": items}))


def embedded(page):
    text = page.read_text()
    found = re.search(r'<script type="application/json" id="run">(.*?)</script>', text, re.DOTALL)
    return json.loads(found[1])


def test_page_holds_everything_and_is_well_formed(tmp_path):
    fill(tmp_path)
    page = write_run_page(tmp_path)
    data = embedded(page)
    assert data["facts"]["name"] == NAME
    assert data["curves"]["train/loss"]["step"] == list(range(1, 31))
    assert data["curves"]["unseen/loss"]["value"] == [None, None, None]
    assert [sample["step"] for sample in data["samples"]] == [10, 20, 30]
    # What a browser takes for elements: nothing of the run's own texts.
    tags = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
    parser.feed(page.read_text())
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in tags)
    assert not any(attributes.get("src") or attributes.get("href") for _, attributes in tags)


def test_writing_again_changes_nothing_and_leaves_nothing_behind(tmp_path):
    fill(tmp_path)
    first = write_run_page(tmp_path).read_bytes()
    assert write_run_page(tmp_path).read_bytes() == first
    assert not list(tmp_path.glob(".index*"))


def test_empty_folder_and_half_written_files_still_give_a_page(tmp_path):
    assert embedded(write_run_page(tmp_path)) == {
        "facts": {"name": tmp_path.name},
        "config": "",
        "curves": {},
        "samples": [],
    }
    (tmp_path / "run.json").write_text('{"name": ')
    (tmp_path / "metrics.jsonl").write_text("[1]\nnot json\n{}\n")
    assert embedded(write_run_page(tmp_path))["curves"] == {}


def test_long_runs_are_thinned_and_keep_both_ends(tmp_path):
    lines = (json.dumps({"step": step, "time": step, "train/loss": float(step)}) for step in range(5000))
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    (tmp_path / "samples").mkdir()
    for step in range(100):
        (tmp_path / "samples" / f"step-{step:08d}.json").write_text(json.dumps({"step": step, "items": []}))
    data = embedded(write_run_page(tmp_path))
    curve = data["curves"]["train/loss"]
    assert len(curve["step"]) == run_page.MAX_POINTS
    assert (curve["step"][0], curve["step"][-1]) == (0, 4999)
    assert curve["value"] == sorted(curve["value"])
    steps = [sample["step"] for sample in data["samples"]]
    assert len(steps) == run_page.MAX_SAMPLES
    assert (steps[0], steps[-1]) == (0, 99)


@pytest.fixture(scope="module")
def browser():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return name
    pytest.skip("no Chromium on this machine")


@pytest.mark.browser
def test_a_browser_draws_all_of_it_without_network_or_errors(tmp_path, browser):
    fill(tmp_path)
    page = write_run_page(tmp_path)
    command = [
        *(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"),
        *("--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"),
        page.as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    root = re.search(r"<html[^>]*>", dom)[0]
    assert 'data-ready="yes"' in root
    assert 'data-errors=""' in root
    # Two items of an input and two samples with three strokes each.
    drawn = re.findall(r'<path d="M[^"]*" style="stroke:', dom)
    assert len(drawn) == 2 * 3 * 3
    assert "M10,10L200,20L120,220" in dom
    assert dom.count('class="curve train"') == 3
    assert dom.count('class="curve val"') == 1
    assert dom.count('class="curve unseen"') == 0  # it has no finite value
    assert 'max="2"' in re.search(r'<input type="range"[^>]*>', dom)[0]
    assert "NOT QUICK, DRAW!" in dom
    assert "cat &amp; &lt;b&gt;" in dom
    assert "<img" not in dom


@pytest.mark.browser
def test_a_model_that_drew_nothing_is_shown_as_such(tmp_path, browser):
    fill(tmp_path, steps=1, name="empty")
    command = [
        *(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", write_run_page(tmp_path).as_uri()),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert dom.count("nothing drawn</em>") == 2
