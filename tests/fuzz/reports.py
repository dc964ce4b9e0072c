"""Fuzz the readers of run folders, report parts and sweeps, and the pages made from them."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from random import Random

from sketchembed.errors import SketchEmbedError
from sketchembed.reporting.part import Drawings, Figure, Part, Table
from sketchembed.reporting.report_page import Entry, ReportPage
from sketchembed.reporting.run_page import write_run_page
from sketchembed.reporting.runs_page import write_runs_page
from sketchembed.reporting.sweep_table import sweep_table
from sketchembed.runs.folder import Run, trains_alike
from sketchembed.runs.provenance import run_provenance
from sketchembed.runs.run_logger import RunLogger
from sketchembed.runs.sweep_file import SweepFile
from sketchembed.runs.sweep_folder import SweepFolder
from sketchembed.training.presets import conf_folder

from .drawings import SVG
from .engine import Case, Reader


class Elements(HTMLParser):
    """Collects the parts of a page that could run code or load resources."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts = 0
        self.dangers: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        if tag in ("iframe", "object", "embed", "base", "form", "foreignobject", "animate", "set", "link"):
            self.dangers.append(tag)
        for name, value in attrs:
            name = name.rpartition(":")[2]
            if name.startswith("on"):
                self.dangers.append(name)
            if tag == "img" and re.fullmatch(r"data:image/svg\+xml;base64,[\w+/=]+", value or ""):
                continue
            if name in ("href", "src", "action") and not re.match(
                r"#|data:image/(png|jpeg|gif|webp);|[\w%.-]+/index.html$", value or "#"
            ):
                self.dangers.append(f"{name}={value}")
            if re.search(r"url\((?!#)|image-set\(|expression\(", value or ""):
                self.dangers.append(f"{name}={value}")


def check_page(text: str, scripts: int) -> None:
    found = Elements(text)
    assert found.scripts == scripts, f"{found.scripts} scripts"
    assert not found.dangers, found.dangers


# ---- a run's folder --------------------------------------------------------------------------------------

ITEM = {
    "class": "cat",
    "seen": True,
    "input": [[0, 0, 255, 9]],
    "samples": [{"temperature": 0.2, "strokes": [[1, 2, 3, 4]]}],
}


def run_seeds() -> list[Case]:
    facts = {
        "name": "quickdraw-cpu-seed0",
        "created": "2026-01-02T03:04:05+00:00",
        "version": "0.1",
        "finished": False,
        "wandb_id": "abc",
        "preset": "cpu",
        "max_steps": 10,
        "data": {
            "source": "quickdraw",
            "drawings": 12,
            "classes_seen": 3,
            "classes_unseen": 1,
            "digest": "0a" * 32,
        },
        "parameters": 1234,
        "device": "cpu",
        "model": {"encoder": "conv4", "width": 4, "decoder": "lstm", "hidden": 8, "latent": 6},
        "kind": "sketchembednet",
    }
    metrics = [
        {"step": step, "time": 1.5 * step, "train/loss": 3.0 / (step + 1), "alpha": 0.1} for step in range(12)
    ]
    return [
        {
            "run/run.json": json.dumps(facts, indent=1).encode(),
            "run/config.yaml": b"seed_everything: 0\nmodel:\n  class_path: x\n",
            "run/metrics.jsonl": b"".join(json.dumps(row).encode() + b"\n" for row in metrics),
            "run/samples/step-5.json": json.dumps({"step": 5, "items": [ITEM]}).encode(),
            "run/samples/step-10.json": json.dumps({"step": 10, "items": [ITEM, ITEM]}).encode(),
            "run/checkpoints/step-10.ckpt": b"",
            "run/scores.json": json.dumps(
                {"omniglot": {"scores": [{"setting": "5w1s", "mean": 95.5, "ci95": 0.2}]}}
            ).encode(),
        }
    ]


def read_run(folder: Path) -> object:
    path = folder / "run"
    path.mkdir(parents=True, exist_ok=True)
    page = write_run_page(path).read_text("utf-8")
    check_page(page, 2)
    shown = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert shown
    whole = json.loads(shown[1], parse_constant=lambda text: (_ for _ in ()).throw(AssertionError(text)))
    assert isinstance(whole["facts"], dict)
    run = Run(path)
    run_provenance(run)
    run.note(seen=True)
    assert run.facts["seen"] is True
    run.rewind(6)
    logger = RunLogger(run)
    logger.log_metrics({"train/loss": 1.0}, 7)
    logger.finalize("success")
    trains_alike(run.config or "", "seed_everything: 0\n")
    check_page(write_runs_page(folder).read_text("utf-8"), 2)
    Run.open(folder, "run", "seed_everything: 0\n").release()
    return whole["curves"] or whole["samples"]


# ---- the parts of a report -------------------------------------------------------------------------------


def part_seeds() -> list[Case]:
    part = Part(
        name="fewshot",
        title="Few-shot classification",
        about="How *well* `it` goes.\n\nMore.",
        tables=[
            Table(
                "Table 1",
                ["method", "5w1s"],
                [["this", 95.5], ["that", None]],
                [["theirs", 96.37]],
                "A *note*.",
            )
        ],
        figures=[Figure("figure-5", "A figure", SVG.decode().partition("?>")[2], "seen `here`")],
        drawings=[Drawings("Some", [ITEM])],
        values={"5w1s": 95.5},
        facts={"request": "abc", "seed": 0, "options": {"ways": [5, 20]}},
        seconds=12.5,
    )
    return [{"fewshot.json": part.to_json().encode()}]


def change_part(case: Case, random: Random) -> Case:
    """Change the JSON or the figure in it."""
    from .structured import change_json, change_svg

    content = case["fewshot.json"]
    if random.random() < 0.4:
        whole = json.loads(content)
        whole["figures"][0]["svg"] = change_svg(whole["figures"][0]["svg"].encode(), random).decode(
            "utf-8", "replace"
        )
        return {"fewshot.json": json.dumps(whole).encode()}
    return {"fewshot.json": change_json(content, random)}


def read_part(folder: Path) -> object:
    part = Part.read(folder / "fewshot.json")
    page = ReportPage(part.title, facts=part.facts, entries=[Entry(part.name, part.title, "done", part)])
    check_page(page.write(folder / "report.html").read_text("utf-8"), 2)
    part.write(folder / "again")
    again = Part.read(folder / "again" / f"{part.name}.json")
    assert again.title == part.title
    return part


# ---- sweeps ----------------------------------------------------------------------------------------------


def sweep_seeds() -> list[Case]:
    file = (conf_folder().parent / "sweeps" / "seeds.yaml").read_bytes()
    runs = [
        {"name": f"seed{at}", "point": {"seed_everything": at}, "words": ["--a=1"], "seconds": 1.0}
        for at in (0, 1)
    ]
    facts = json.dumps({"name": "seeds", "runs": runs}).encode()
    seen: Case = {}
    for at in (0, 1):
        seen[f"sweep/seed{at}/config.yaml"] = b"seed_everything: %d\ncurriculum:\n  alpha_max: 0.5\n" % at
        seen[f"sweep/seed{at}/run.json"] = b'{"finished": true, "steps": 3}'
        seen[f"sweep/seed{at}/metrics.jsonl"] = b'{"step": 1, "train/loss": 2.0}\n'
    return [{"sweep.yaml": file, "sweep/sweep.json": facts, **seen}, {"sweep.yaml": file, **seen}]


def read_sweep(folder: Path) -> object:
    errors = []
    try:
        found = SweepFolder.read(folder / "sweep")
        sweep_table(found).markdown()
        found.write()
    except SketchEmbedError as error:
        errors.append(error)
    try:
        file = SweepFile.read(folder / "sweep.yaml")
        points = file.points(9)
        for name, point in points.items():
            assert file.words(name, point, [])
    except SketchEmbedError as error:
        errors.append(error)
    if len(errors) == 2:
        raise errors[0]
    return True


READERS = (
    Reader("sweep", sweep_seeds, read_sweep),
    Reader("run-folder", run_seeds, read_run),
    # Part.read raises OSError or ValueError for a part that cannot be read.
    Reader("report-part", part_seeds, read_part, change_part, (OSError, ValueError)),
)
