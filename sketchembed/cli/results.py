"""`sketchembed results`: evaluate the packaged models, and write RESULTS.md with the paper's numbers.

``results.yaml`` lists the tables, each with the command that computes it. A table is kept and not computed
again as long as its command, the weights and the version are the same.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sketchembed._version import __version__
from sketchembed.cli.parser import command
from sketchembed.errors import ConfigError, SketchEmbedError, check_known
from sketchembed.files.reading import digest, read_file
from sketchembed.files.serialization import dataclass_from_dict, parse_json, parse_yaml
from sketchembed.files.writing import check_output, whole_file
from sketchembed.hub.model_files import find
from sketchembed.reporting.part import Part, Table
from sketchembed.reporting.results_page import fewshot_tables, model_facts, results_page

# Options of evaluations whose values are models.
MODEL_OPTIONS = ("--checkpoint", "--vae", "--seen_classifier", "--unseen_classifier")


@dataclass
class Section:
    """A table of the page.

    Attributes:
        name: name of its files.
        title: title with the numbers of the paper's tables.
        evaluate: its command line after ``sketchembed evaluate``.
        means: models (seeds of one training) by the name of an additional row with their mean.
        paper: the paper's rows in percent by setting, if they are not those of the report.
        note: remarks on the comparison.
    """

    name: str
    title: str
    evaluate: str
    means: dict[str, list[str]] = field(default_factory=dict)
    paper: dict[str, dict[str, float]] = field(default_factory=dict)
    note: str = ""

    @property
    def words(self) -> list[str]:
        """The words of the command line."""
        return shlex.split(self.evaluate)

    @property
    def models(self) -> list[str]:
        """The models in the command line."""
        words = self.words
        values = [words[at + 1] for at, word in enumerate(words[:-1]) if word in MODEL_OPTIONS]
        return [name for value in values for name in value.split(",") if name and name != "none"]

    def request(self) -> str:
        """Return a digest of everything that the numbers depend on, except the data."""
        weights = {name: digest(find(name)) for name in self.models}
        asked = {"version": __version__, "evaluate": self.words, "weights": weights}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def markdown(self, tables: list[Table], facts: dict[str, Any]) -> str:
        """Return heading, tables, note, command and facts in Markdown."""
        known = "; ".join(f"{key} {value}" for key, value in facts.items() if value is not None)
        texts = [table.markdown() for table in tables] or ["*Not computed yet.*"]
        command = f"`sketchembed evaluate {self.evaluate}`"
        blocks = [f"## {self.title}", *texts, self.note.strip(), f"{command}  \n{known}"]
        return "\n\n".join(block for block in blocks if block)


@dataclass
class Plan:
    """The content of ``results.yaml``: the introduction of the page, and its tables."""

    about: str
    sections: list[Section]

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read a plan, or raise a ConfigError."""
        content = read_file(path, str(path), expected="a list of results", fix="Name one with --plan")
        try:
            plan = dataclass_from_dict(cls, parse_yaml(content.decode("utf-8")))
        except ValueError as error:
            raise ConfigError(
                f"{path} is not a list of results ({error})",
                expected="`about` and `sections`, each with `name`, `title` and `evaluate`",
                fix="Correct it; see sketchembed/cli/results.yaml",
            ) from error
        for section in plan.sections:
            if not section.words or Path(section.name).name != section.name:
                raise ConfigError(
                    f"{path} has the section {section.name!r} with the command {section.evaluate!r}",
                    expected="a file name, and a command line after `sketchembed evaluate`",
                    fix="Correct it",
                )
        return plan


def results(
    plan: Path | None = None,
    out: Path = Path("RESULTS.md"),
    kept: Path = Path("results/published"),
    only: str | None = None,
    fresh: bool = False,
) -> None:
    """Evaluate the packaged models on all tables of the paper, and write one page.

    Args:
        plan: file that lists the tables; by default that of the package.
        out: page to write.
        kept: folder of the computed tables.
        only: names of sections to compute, separated by commas; the other tables are those computed before.
        fresh: compute tables again that were computed before.
    """
    check_output(out.parent)
    check_output(kept)
    whole = Plan.read(plan or Path(__file__).parent / "results.yaml")
    names = [section.name for section in whole.sections]
    chosen = only.split(",") if only else names
    for name in chosen:
        check_known("section", name, names)
    # All models are looked up before the first evaluation, which may take hours.
    models = {model: find(model) for section in whole.sections for model in section.models}
    written = []
    for number, section in enumerate(whole.sections, start=1):
        head = f"[{number}/{len(names)}] {section.name}"
        there = _is_kept(section, kept)
        if section.name in chosen and (fresh or not there):
            print(f"{head}: sketchembed evaluate {section.evaluate}", flush=True)
            _measure(section, kept)
            there = True
        else:
            print(f"{head}: {'kept from before' if there else 'not measured'}", flush=True)
        tables, facts = _read(section, kept) if there else ([], {})
        written.append(section.markdown(tables, facts))
    page = results_page(whole.about, [model_facts(*model) for model in models.items()], written)
    with whole_file(out) as file:
        file.write(page.encode())
    print(out)


def _is_kept(section: Section, kept: Path) -> bool:
    mark = kept / section.name / "request"
    return mark.is_file() and mark.read_text() == section.request()


def _measure(section: Section, kept: Path) -> None:
    folder = kept / section.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "request").unlink(missing_ok=True)
    out = folder / "fewshot" if section.words[0] == "fewshot" else folder
    command = [sys.executable, "-m", "sketchembed", "evaluate", *section.words]
    command += ["--out", str(out), "--wandb", "disabled"]
    ran = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if ran.returncode:
        raise SketchEmbedError(
            f"`sketchembed evaluate {section.evaluate}` ended with status {ran.returncode}",
            expected="numbers for RESULTS.md",
            fix="See the error above; the same command continues with this table",
        )
    (folder / "request").write_text(section.request())


def _read(section: Section, kept: Path) -> tuple[list[Table], dict[str, Any]]:
    """Return the tables of a section, with seeds, digests and seconds."""
    folder, kind = kept / section.name, section.words[0]
    try:
        if kind == "fewshot":
            report = parse_json((folder / "fewshot.json").read_text())
            if section.paper:
                report["paper"] = section.paper
            return fewshot_tables(report, section.means)
        part = Part.read(folder / f"{kind}.json")
        return part.tables, {"seed": part.facts.get("seed"), "seconds": part.seconds}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"the results in {folder} cannot be read ({error})",
            expected="the files of `sketchembed evaluate`",
            fix=f"Compute them again: sketchembed results --fresh true --only {section.name}",
        ) from error


run = command(results, "results")
