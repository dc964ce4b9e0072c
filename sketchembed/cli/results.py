"""`sketchembed results`: measure the packaged models, and write the numbers beside the paper's.

What is measured is listed in ``results.yaml``, a command a table. What has been measured before, by
the same command, of the same weights, with the same version, is read and not measured again.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from sketchembed._version import __version__
from sketchembed.cli.parser import command
from sketchembed.errors import ConfigError, SketchEmbedError
from sketchembed.files.reading import digest, read_file
from sketchembed.files.serialization import build, parse_json, parse_yaml
from sketchembed.files.writing import whole_file
from sketchembed.hub.model_files import find
from sketchembed.reporting.part import Part
from sketchembed.reporting.results_page import ResultsSection, fewshot_tables, model_facts, results_page

NAMING = ("--checkpoint", "--vae", "--seen_classifier", "--unseen_classifier")
"""Options of evaluations that name models."""


@dataclass
class Section:
    """A table to be measured.

    Attributes:
        name: of its files.
        title: with the numbers of the paper's tables.
        evaluate: the command, behind ``sketchembed evaluate``.
        means: rows that are means over several models, and these models' names: the seeds of one training.
        paper: the paper's rows, in per cent by setting, where they are others than the report's own.
        note: what a reader must know to compare.
    """

    name: str
    title: str
    evaluate: str
    means: dict[str, list[str]] = field(default_factory=dict)
    paper: dict[str, dict[str, float]] = field(default_factory=dict)
    note: str = ""

    @property
    def words(self) -> list[str]:
        """The command's words."""
        return shlex.split(self.evaluate)

    @property
    def models(self) -> list[str]:
        """The models that the command names."""
        words = self.words
        named = [words[at + 1] for at, word in enumerate(words[:-1]) if word in NAMING]
        return [name for names in named for name in names.split(",") if name and name != "none"]

    def request(self) -> str:
        """Return a digest of all that the numbers depend on, but for the data."""
        weights = {name: digest(find(name)) for name in self.models}
        asked = {"version": __version__, "evaluate": self.words, "weights": weights}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@dataclass
class Plan:
    """What is measured.

    Attributes:
        about: what to say first.
        sections: the tables.
    """

    about: str
    sections: list[Section]

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read a plan.

        Raises:
            ConfigError: if the file is none.
        """
        content = read_file(path, str(path), expected="a list of results", fix="Name one with --plan")
        try:
            plan = build(cls, parse_yaml(content.decode("utf-8")))
        except ValueError as error:
            raise ConfigError(
                f"{path} is no list of results ({error})",
                expected="`about` and `sections`, each with `name`, `title` and `evaluate`",
                fix="Correct it; sketchembed/cli/results.yaml is one",
            ) from error
        for section in plan.sections:
            if not section.words or Path(section.name).name != section.name:
                raise ConfigError(
                    f"{path} has the section {section.name!r} with the command {section.evaluate!r}",
                    expected="the name of a file, and what follows `sketchembed evaluate`",
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
    """Measure the packaged models in all that the paper has tables of, and write one page.

    Args:
        plan: file that lists what is measured; that of the package if not given.
        out: the page to write.
        kept: folder that keeps what was measured.
        only: names of sections with commas between them, to be measured now; of the others the page has what
            was measured before.
        fresh: measure again what was measured before.
    """
    whole = Plan.read(plan or Path(__file__).parent / "results.yaml")
    names = [section.name for section in whole.sections]
    chosen = only.split(",") if only else names
    for name in chosen:
        if name not in names:
            raise ConfigError(
                f"there is no section '{name}'", expected=f"of {', '.join(names)}", fix="Choose of these"
            )
    # Before any of them costs time.
    models = {model: find(model) for section in whole.sections for model in section.models}
    measured = []
    for number, section in enumerate(whole.sections, start=1):
        head = f"[{number}/{len(names)}] {section.name}"
        there = _is_kept(section, kept)
        if section.name in chosen and (fresh or not there):
            print(f"{head}: sketchembed evaluate {section.evaluate}", flush=True)
            _measure(section, kept)
            there = True
        else:
            print(f"{head}: {'kept from before' if there else 'not measured'}", flush=True)
        found = ResultsSection(section.title, section.evaluate, section.note)
        measured.append(_read(section, kept, found) if there else found)
    page = results_page(whole.about, [model_facts(*model) for model in models.items()], measured)
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
            f"`sketchembed evaluate {section.evaluate}` ended with {ran.returncode}",
            expected="numbers for RESULTS.md",
            fix="See above; what was measured before is kept, and the same command goes on",
        )
    (folder / "request").write_text(section.request())


def _read(section: Section, kept: Path, out: ResultsSection) -> ResultsSection:
    folder, kind = kept / section.name, section.words[0]
    try:
        if kind == "fewshot":
            report = parse_json((folder / "fewshot.json").read_text())
            if section.paper:
                report["paper"] = section.paper
            out.tables, out.facts = fewshot_tables(report, section.means)
        else:
            part = Part.read(folder / f"{kind}.json")
            out.tables, out.facts = part.tables, {"seed": part.facts.get("seed"), "seconds": part.seconds}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"what was measured in {folder} cannot be read ({error})",
            expected="what `sketchembed evaluate` wrote",
            fix=f"Measure it again: sketchembed results --fresh true --only {section.name}",
        ) from error
    return out


run = command(results, "results")
