"""Build the report of a checkpoint: compute its parts, keep them on disk, and update the page after each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from sketchembed._version import __version__
from sketchembed.data.folders import data_folder
from sketchembed.errors import SketchEmbedError
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.models import Model
from sketchembed.evaluation.parts import make, summary
from sketchembed.files.progress_bar import ProgressBar, print_line
from sketchembed.files.reading import digest
from sketchembed.reporting.part import Part
from sketchembed.reporting.report_page import Entry, ReportPage
from sketchembed.runs.provenance import provenance

PAGE = "report.html"
REQUEST = "request"  # key of the digest of all that a part depends on, among the facts of the part


class ReportBuilder:
    """Computes the parts of a report and writes its page.

    A part that was computed before, for the same models and options, is read from its file unless `fresh`.
    """

    def __init__(
        self, context: EvaluationContext, options: Mapping[str, Mapping[str, Any]], fresh: bool = False
    ) -> None:
        self.context, self.options = context, options
        self.models = {
            "checkpoint": digest(context.model.path)[:16],
            "vae": digest(context.baseline.path)[:16] if context.baseline else None,
        }
        self.entries = {name: Entry(name, summary(name)) for name in options}
        found = [] if fresh else [part for part in map(self._read, options) if part]
        # All ranks skip the same parts, whatever one of them has written in the meantime.
        for name in context.ranks.broadcast([part.name for part in found]):
            part = next(part for part in found if part.name == name)
            self.entries[name] = Entry(name, part.title, "done", part)

    @property
    def parts(self) -> list[Part]:
        """The parts that are done."""
        return [entry.part for entry in self.entries.values() if entry.part]

    @property
    def failures(self) -> dict[str, str]:
        """Error messages of the parts that failed, by part name."""
        return {name: entry.message for name, entry in self.entries.items() if entry.state == "failed"}

    def run(self) -> Path:
        """Compute the missing parts; write the page before the first part and after each.

        Returns:
            the path of the page.

        Raises:
            KeyboardInterrupt: if stopped; the page says so, and finished parts are kept.
        """
        count = len(self.entries)
        for number, (name, entry) in enumerate(self.entries.items(), start=1):
            head = f"[{number}/{count}] {name}"
            if entry.state == "done":
                self._print(f"{head}: already computed")
                continue
            entry.state, entry.message = "begun", f"since {datetime.now():%H:%M}."
            self._write()
            self._print(f"{head}: {entry.title}")
            try:
                with ProgressBar(head):
                    part = make(name, self.context, **self.options[name])
            except SketchEmbedError as error:
                same = next((one for one, text in self.failures.items() if text == str(error)), None)
                self._print(f"{head}: {f'the same error as in {same}' if same else error}")
                entry.state, entry.message = "failed", str(error)
            except BaseException:
                entry.state, entry.message = "stopped", f"at {datetime.now():%H:%M}."
                self._write()
                raise
            else:
                part.facts[REQUEST] = self.request(name)
                if self.context.ranks.is_rank_zero:
                    part.write(self.context.out)
                entry.state, entry.title, entry.part = "done", part.title, part
                self._print(f"{head}: done in {duration(part.seconds)}")
        return self._write()

    def request(self, name: str) -> str:
        """Return a digest of all that a part depends on: models, data folder, options, seed and version."""
        values = {
            **self.models,
            "part": name,
            "options": dict(self.options[name]),
            "folder": str(data_folder(self.context.folder)),
            "seed": self.context.seed,
            "version": __version__,
        }
        return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def _read(self, name: str) -> Part | None:
        """Return a part that was computed for the same request; None if there is none."""
        with suppress(ValueError):
            part = Part.read(self.context.out / f"{name}.json")
            if part.name == name and part.facts.get(REQUEST) == self.request(name):
                return part
        return None

    def page(self) -> ReportPage:
        """Return the page with the parts that are done."""
        context, model, net = self.context, self.context.model, self.context.net.config
        baseline, source = context.baseline, provenance(model.path)
        failed = f", {len(self.failures)} failed" if self.failures else ""
        seconds = sum(part.seconds for part in self.parts)
        facts = {
            "model": f"{net.encoder} {net.width}, {net.decoder} {net.hidden}, latent size {net.latent}",
            **_named(model),
            "classes": f"{source['classes']} seen, {source.get('classes_unseen', 0)} unseen"
            if "classes" in source
            else None,
            "data digest": source.get("data_digest"),
            "checkpoint digest": self.models["checkpoint"],
            **{f"Conv-VAE {key}": value for key, value in (_named(baseline) if baseline else {}).items()},
            "Conv-VAE digest": self.models["vae"],
            "seed": context.seed,
            "version": __version__,
        }
        options = {"seed": context.seed, "data folder": str(data_folder(context.folder))}
        options |= json.loads(json.dumps(dict(self.options), default=str))
        details = {"Options of this report": yaml.safe_dump(options, sort_keys=False, allow_unicode=True)}
        if "config" in source:
            details["Training configuration"] = source["config"]
        return ReportPage(
            f"Report on {model.run}",
            f"{len(self.parts)} of {len(self.entries)} parts{failed}; computed in {duration(seconds)}; "
            f"written {datetime.now().astimezone():%Y-%m-%d %H:%M}.",
            facts,
            list(self.entries.values()),
            details,
            str(source.get("announcement") or ""),
            context.facts(),
        )

    def _write(self) -> Path:
        path = self.context.out / PAGE
        return self.page().write(path) if self.context.ranks.is_rank_zero else path

    def _print(self, line: str) -> None:
        if self.context.ranks.is_rank_zero:
            print_line(line)


def _named(model: Model) -> dict[str, Any]:
    """Return the facts about a model by their display names."""
    names = {"trained_on": "trained on", "drawings": "training drawings"}
    return {names.get(key, key): value for key, value in model.facts.items()}


def duration(seconds: float | int) -> str:
    """Return a duration as text, such as ``2 min 5 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
