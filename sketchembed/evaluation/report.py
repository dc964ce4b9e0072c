"""The report of a checkpoint: every part that is asked for, kept on disk, on one page that grows."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from sketchembed._version import __version__
from sketchembed.data.folders import data_folder
from sketchembed.errors import SketchEmbedError
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.models import Model
from sketchembed.evaluation.parts import about, make
from sketchembed.files.reading import digest
from sketchembed.reporting.part import Part
from sketchembed.reporting.report_page import Entry, ReportPage
from sketchembed.runs.provenance import provenance

PAGE = "report.html"
REQUEST = "request"
"""The fact of a part that says what it was computed from."""
BEAT = 60.0
"""Seconds between lines that say that a part is still being computed."""


class Report:
    """Parts of one context on one page.

    A part that has been computed before, of the same models with the same options, is read and not
    computed again.

    Args:
        context: the checkpoint, and the folder to write to.
        options: of each part, by its name, in the order of the page.
        fresh: compute every part anew.
    """

    def __init__(
        self, context: EvaluationContext, options: Mapping[str, Mapping[str, Any]], fresh: bool = False
    ) -> None:
        self.context, self.options = context, options
        self.models = {
            "checkpoint": digest(context.model.path)[:16],
            "vae": digest(context.baseline.path)[:16] if context.baseline else None,
        }
        self.entries = {name: Entry(name, about(name)) for name in options}
        found = [] if fresh else [part for part in map(self._kept, options) if part]
        # All processes leave out the same parts, whatever one of them has written meanwhile.
        for name in context.ranks.broadcast([part.name for part in found]):
            part = next(part for part in found if part.name == name)
            self.entries[name] = Entry(name, part.title, "done", part)

    @property
    def parts(self) -> list[Part]:
        """Those that are there."""
        return [entry.part for entry in self.entries.values() if entry.part]

    @property
    def failures(self) -> dict[str, str]:
        """Why parts could not be computed, by their names."""
        return {name: entry.message for name, entry in self.entries.items() if entry.state == "failed"}

    def run(self) -> Path:
        """Compute what is not there yet, and write the page before the first part and after every one.

        Returns:
            the page's path.

        Raises:
            KeyboardInterrupt: if it was stopped; the page says so, and what is finished is kept.
        """
        begun = time.monotonic()
        count = len(self.entries)
        for number, (name, entry) in enumerate(self.entries.items(), start=1):
            head = f"[{number}/{count}] {name}"
            if entry.state == "done":
                self._say(f"{head}: kept from before")
                continue
            entry.state, entry.message = "begun", f"since {datetime.now():%H:%M}."
            self._write()
            self._say(f"{head}: {entry.title}")
            try:
                with self._beat(head, begun):
                    part = make(name, self.context, **self.options[name])
            except SketchEmbedError as error:
                entry.state, entry.message = "failed", str(error)
                self._say(f"{head}: {error}")
            except BaseException:
                entry.state, entry.message = "stopped", f"at {datetime.now():%H:%M}."
                self._write()
                raise
            else:
                part.facts[REQUEST] = self.request(name)
                if self.context.ranks.is_rank_zero:
                    part.write(self.context.out)
                entry.state, entry.title, entry.part = "done", part.title, part
                self._say(f"{head}: done in {duration(part.seconds)}")
        return self._write()

    def request(self, name: str) -> str:
        """Return a digest of all that a part depends on: models, data folder, options, seed and version."""
        asked = {
            **self.models,
            "part": name,
            "options": dict(self.options[name]),
            "folder": str(data_folder(self.context.folder)),
            "seed": self.context.seed,
            "version": __version__,
        }
        return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def _kept(self, name: str) -> Part | None:
        """Return a part that was computed before of the same; None if there is none."""
        with suppress(ValueError):
            part = Part.read(self.context.out / f"{name}.json")
            if part.name == name and part.facts.get(REQUEST) == self.request(name):
                return part
        return None

    # ---- the page --------------------------------------------------------------------------------------

    def page(self) -> ReportPage:
        """Return the page of what is there so far."""
        context, model, net = self.context, self.context.model, self.context.net.config
        beside, source = context.baseline, provenance(model.path)
        done, count = len(self.parts), len(self.entries)
        seconds = sum(part.seconds for part in self.parts)
        written = f"{datetime.now().astimezone():%Y-%m-%d %H:%M}"
        failed = f", {len(self.failures)} could not be computed" if self.failures else ""
        facts = {
            "model": f"{net.encoder} {net.width}, {net.decoder} {net.hidden}, z of {net.latent} numbers",
            **_named(model),
            "classes": f"{source['classes']} seen, {source.get('classes_unseen', 0)} unseen"
            if "classes" in source
            else None,
            "data's digest": source.get("data_digest"),
            "checkpoint's digest": self.models["checkpoint"],
            **{f"Conv-VAE's {key}": value for key, value in (_named(beside) if beside else {}).items()},
            "Conv-VAE's digest": self.models["vae"],
            "seed": context.seed,
            "version": __version__,
        }
        details = {
            "Options of this report": yaml.safe_dump(self._asked(), sort_keys=False, allow_unicode=True)
        }
        if "config" in source:
            details["Configuration of the training"] = source["config"]
        return ReportPage(
            f"Report on {model.run}",
            f"{done} of {count} parts{failed}; computed in {duration(seconds)}; written {written}.",
            facts,
            list(self.entries.values()),
            details,
            str(source.get("announcement") or ""),
            context.facts(),
        )

    def _asked(self) -> dict[str, Any]:
        plain: dict[str, Any] = json.loads(json.dumps(dict(self.options), default=str))
        return {"seed": self.context.seed, "data folder": str(data_folder(self.context.folder)), **plain}

    def _write(self) -> Path:
        path = self.context.out / PAGE
        return self.page().write(path) if self.context.ranks.is_rank_zero else path

    # ---- progress --------------------------------------------------------------------------------------

    def _say(self, line: str) -> None:
        if self.context.ranks.is_rank_zero:
            print(line, flush=True)

    @contextmanager
    def _beat(self, head: str, begun: float) -> Iterator[None]:
        """Say now and then that a part is still being computed.

        A line a minute and no bar, since parts may have one of their own.
        """
        ended = threading.Event()
        started = time.monotonic()

        def beat() -> None:
            while not ended.wait(BEAT):
                now = time.monotonic()
                self._say(f"{head}: {duration(now - started)} so far, {duration(now - begun)} in all")

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _named(model: Model) -> dict[str, Any]:
    """Return facts of a model under names for people."""
    names = {"trained_on": "trained on", "drawings": "training drawings"}
    return {names.get(key, key): value for key, value in model.facts.items()}


def duration(seconds: float | int) -> str:
    """Return a time as a person says it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
