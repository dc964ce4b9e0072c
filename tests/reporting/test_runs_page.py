import fcntl
import html
import json
import re

import pytest

from sketchembed.cli import main
from sketchembed.reporting.run_page import write_run_page
from sketchembed.reporting.runs_page import MARK, update_runs_page, write_runs_page

NAME = "b <script>alert(1)&"


def write_run(
    root, name, *, finished=True, steps=(9, 19), val=0.5, seed=0, created="2026-01-02T03:04:05+00:00", **more
):
    """Write the folder of a run, with a validation after each of `steps`."""
    folder = root / name
    (folder / "samples").mkdir(parents=True)
    facts = {"name": name, "finished": finished, "max_steps": 20, "kind": "sketchembednet", "preset": "cpu"}
    facts |= (
        {"created": created, "data": {"source": "quickdraw"}} | ({"steps": 20} if finished else {}) | more
    )
    (folder / "run.json").write_text(json.dumps(facts))
    (folder / "config.yaml").write_text(f"seed_everything: {seed}\ncurriculum: {{alpha_max: 0.25}}\n")
    rows = []
    for step in steps:
        rows.append({"step": step, "time": 90.0, "train/loss": 2.0})
        rows.append(
            {"step": step, "time": 100.0, "val/pen": 1.0 / step, "val/stroke": -val, "val/pixel": None}
        )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 2')
    item = {"class": "cat", "seen": True, "samples": [{"strokes": [[1.4, 2.6, 30, 40], [7, 8]]}]}
    for step, items in ((3, []), (6, [item, item | {"seen": False, "class": "<moon>"}])):
        (folder / "samples" / f"step-{step:08d}.json").write_text(json.dumps({"step": step, "items": items}))
    return folder


def cells(page, name):
    """Return the texts of a run's cells by column."""
    row = next(row for row in re.findall(r"<tr>(.*?)</tr>", page) if f">{html.escape(name)}<" in row)
    found = re.findall(r'<td data-name="([^"]*)"[^>]*>(.*?)</td>', row)
    return {column: html.unescape(re.sub(r"<[^>]*>", "", cell)) for column, cell in found}


def test_page_lists_every_run_with_its_facts(tmp_path):
    write_run(tmp_path, NAME, seed=7)
    stopped = write_run(tmp_path, "stopped", finished=False)
    write_run(tmp_path, "failed", finished=False, failed="DataError: <gone>")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "run.json").write_text('{"na')
    (tmp_path / "yaml").mkdir()
    (tmp_path / "yaml" / "config.yaml").write_text("a: [1")
    (tmp_path / "no run").mkdir()
    held = write_run(tmp_path, "held", finished=False, max_steps=2000)
    with (held / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        page = write_runs_page(tmp_path).read_text()
    assert "data-live" in page  # one is running
    assert "data-live" not in write_runs_page(tmp_path).read_text()
    first = cells(page, NAME)
    assert first["state"] == "finished"
    assert (first["seed"], first["α max"], first["steps"], first["val pen"]) == ("7", "0.25", "20", "0.05263")
    assert (first["val stroke"], first["kind"], first["data"]) == ("-0.5", "SketchEmbedNet cpu", "quickdraw")
    assert (first["started"], first["time"]) == ("2026-01-02 03:04", "2 min")
    assert "val pixel" not in first  # no run has a finite value
    assert cells(page, "stopped")["state"] == "stopped"
    assert cells(page, "stopped")["steps"] == "20"
    assert cells(page, "held")["state"] == "running"
    assert cells(page, "held")["steps"] == "20 of 2,000"
    assert cells(page, "failed")["state"] == "failedDataError: <gone>"
    assert cells(page, "torn")["state"].startswith("brokenrun.json is missing")
    assert cells(page, "yaml")["state"].startswith("brokencannot be read (ParserError")
    assert "no run" not in page
    assert page.count("M1,3L30,40M7,8L7,8") == 4 * 2  # greedy samples of the newest step
    assert "&lt;moon&gt;, step 6" in page
    assert "<script>alert" not in page
    assert not re.search(r'(src|href)="?(https?:)?//', page)
    assert not (stopped / ".lock").exists()


def test_score_columns_are_in_numeric_order(tmp_path):
    scores = [
        {"setting": setting, "mean": mean, "ci95": 0.25} for setting, mean in (("20w1s", 89.5), ("5w1s", 96))
    ]
    run = write_run(tmp_path, "a")
    (run / "scores.json").write_text(json.dumps({"Omniglot vinyals test": {"step": 20, "scores": scores}}))
    write_run(tmp_path, "b")
    page = write_runs_page(tmp_path).read_text()
    assert cells(page, "a")["5w1s Omniglot vinyals test"] == "96.00 ± 0.25"
    assert cells(page, "b")["5w1s Omniglot vinyals test"] == ""
    assert page.index("5w1s <small>Omniglot") < page.index("20w1s <small>Omniglot")


def test_last_validation_is_found_in_long_metrics(tmp_path):
    run = write_run(tmp_path, "a")
    line = json.dumps({"step": 50, "time": 1.0, "train/loss": 1.0, "train/words": "x" * 80}) + "\n"
    with (run / "metrics.jsonl").open("a") as file:
        file.write("\n" + line * 3000)
    assert cells(write_runs_page(tmp_path).read_text(), "a")["val pen"] == "0.05263"


def test_foreign_index_page_is_not_overwritten(tmp_path, capsys):
    run = write_run(tmp_path, "a")
    (tmp_path / "index.html").write_text("mine")
    update_runs_page(run)
    assert (tmp_path / "index.html").read_text() == "mine"
    with pytest.raises(SystemExit):
        main(["runs", str(tmp_path)])
    assert "is not a page of runs" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["runs", str(tmp_path / "nowhere")])
    (tmp_path / "index.html").unlink()
    main(["runs", str(tmp_path)])
    main(["page", str(run)])
    assert MARK in (tmp_path / "index.html").read_text()


def test_sweeps_are_listed_and_pages_link_to_their_parent(tmp_path):
    write_run(tmp_path, "a")
    write_runs_page(tmp_path)
    sweep = tmp_path / "sweep & <b>"
    for seed in (0, 1):
        run = write_run(sweep, f"seed{seed}", finished=seed == 0)
    write_run_page(run)
    update_runs_page(run)
    page = (tmp_path / "index.html").read_text()
    link = '<a href="sweep%20%26%20%3Cb%3E/index.html">sweep &amp; &lt;b&gt;</a>'
    assert f'{link} <span class="soft">1 of 2 runs finished</span>' in page
    assert "1 run in" in page
    assert "../index.html" not in page
    for inner in (sweep / "index.html", run / "index.html"):
        assert '<a href="../index.html">All runs</a>' in inner.read_text()
    (sweep / "index.html").write_text("mine")
    assert "../index.html" not in write_run_page(run).read_text()


def test_page_of_many_runs_is_small(tmp_path):
    for number in range(60):
        write_run(tmp_path, f"run-{number}")
    assert write_runs_page(tmp_path).stat().st_size < 60 * 4000


ACT = """<script>{
const shown = () => [...document.querySelectorAll("tbody tr:not([hidden]) th")];
const names = () => shown().map((one) => one.textContent).join(" ");
const press = (text) => {
  const found = [...document.querySelectorAll("thead button")].find((one) => one.textContent === text);
  found.focus(); found.click();
  return found.closest("th").getAttribute("aria-sort");
};
const seen = [names(), press("val pen"), names(), press("val pen"), names(), press("run"), names()];
const filter = document.getElementById("filter");
filter.value = "STOPPED quick";
filter.dispatchEvent(new Event("input"));
seen.push(names(), document.querySelector("output").textContent);
document.documentElement.dataset.seen = JSON.stringify(seen);
}</script></body>"""


@pytest.mark.browser
def test_browser_sorts_and_filters_runs(tmp_path, load_page):
    root = tmp_path / "runs"
    root.mkdir()
    write_run(root, "run-10", created="2026-01-03", steps=(4,))
    write_run(root, "run-9", created="2026-01-04", steps=(2,), finished=False)
    write_run(root, "run-1", created="2026-01-05", steps=())
    page = write_runs_page(root)
    page.write_text(page.read_text().replace("</body>", ACT))
    seen = json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', load_page(page))[1]))
    newest_first, up, rising, down, falling, _, by_name, filtered, count = seen
    assert newest_first == "run-1 run-9 run-10"
    assert (up, rising) == ("ascending", "run-10 run-9 run-1")  # a run without a value is always last
    assert (down, falling) == ("descending", "run-9 run-10 run-1")
    assert by_name == "run-1 run-9 run-10"
    assert (filtered, count) == ("run-9", "1 of 3")
