"""`sketchembed report --sweep`: judges the runs of a sweep, and makes the paper's tables of them."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from sketchembed._version import __version__
from sketchembed.data.folders import data_folder
from sketchembed.errors import ConfigError, DataError, SketchEmbedError, check_known
from sketchembed.evaluation.context import ClassifierSource, EvaluationContext
from sketchembed.evaluation.fewshot.protocol import CURVE_EPISODES, DataName, FewShotProtocol
from sketchembed.evaluation.models import Model, checkpoints_of
from sketchembed.evaluation.recognizability.predictions import DRAWN
from sketchembed.evaluation.recognizability.recognizability_part import recognizability
from sketchembed.evaluation.report_builder import PAGE, REQUEST, duration
from sketchembed.evaluation.sweeps.sweep_tables import ALPHA, STEP_SETTING, JudgedRun, SweepResults
from sketchembed.evaluation.wandb_results import track_parts
from sketchembed.files.reading import digest
from sketchembed.files.serialization import parse_json
from sketchembed.files.writing import whole_file
from sketchembed.hub.model_files import find, step_of
from sketchembed.reporting.intervals import Interval
from sketchembed.reporting.part import Part
from sketchembed.reporting.report_page import Entry, ReportPage
from sketchembed.reporting.run_page import read_curves
from sketchembed.runs.folder import RunOptions
from sketchembed.runs.process import tune_process
from sketchembed.runs.ranks import Ranks
from sketchembed.runs.sweep_folder import SweepFolder

PARTS = ("fewshot", "recognizability")
MOST_STEPS = 12
"""Checkpoints of a run that are judged for the accuracy over steps, as many as table 5 has."""


def sweep_report(
    sweep: Path,
    parts: str = "auto",
    settings: str | None = None,
    episodes: int | None = None,
    curve_episodes: int = CURVE_EPISODES,
    fresh: bool = False,
    out: Path | None = None,
    folder: str | None = None,
    seed: int = 0,
    devices: str = "1",
    accelerator: str = "auto",
    wandb: Literal["auto", "offline", "online", "disabled"] = "auto",
    project: str = "sketchembed",
    classifier: ClassifierSource | None = None,
) -> None:
    """Judge the finished runs of a sweep, and make its tables beside the paper's (tables 3, 5, 9, 10 and 11).

    What has been judged is kept: the same command goes on where it was stopped.

    Args:
        sweep: folder of a sweep, or of the runs of one by W&B's agents.
        parts: fewshot, recognizability, or both with a comma; auto is fewshot, and recognizability where
            alpha_max is swept.
        settings: few-shot ones, as 5w1s,20w5s; the paper's if not given.
        episodes: of each setting; 2000 of Omniglot and 1000 of mini-ImageNet if not given.
        curve_episodes: for the accuracy over steps, of each checkpoint that was kept
            (`--milestones.count 12`); 0 leaves it out.
        fresh: judge every run anew.
        out: folder to write to; results/NAME of the sweep's folder if not given.
        folder: of the data sets; SKETCHEMBED_DATA, else data, if not given.
        seed: of the episodes.
        devices: processes, each with a device of its own; auto for every GPU.
        accelerator: auto, cpu or cuda.
        wandb: offline (needs no account), online or disabled; auto is what WANDB_MODE says, else offline.
        project: of W&B.
        classifier: trains or loads the classifiers of the recognizability part.

    Raises:
        ConfigError: if there is no sweep, or a part is none.
        SystemExit: with 2 if a finished run could not be judged, 130 if it was stopped.
    """
    found = SweepFolder.read(sweep)
    wanted = _wanted(parts, found)
    tune_process()
    judge = Judge(
        found,
        out or Path("results") / sweep.resolve().name,
        data_folder(folder),
        Ranks.launch(devices, accelerator),
        seed,
        fresh,
        classifier,
    )
    begun = time.perf_counter()
    try:
        if "fewshot" in wanted:
            judge.fewshot(settings, episodes, curve_episodes)
        if "recognizability" in wanted:
            judge.recognizability()
    except KeyboardInterrupt:
        judge.write(time.perf_counter() - begun)
        if judge.ranks.is_rank_zero:
            print(
                "sketchembed: stopped; what is judged is kept, and the same command goes on", file=sys.stderr
            )
        raise SystemExit(130) from None
    part = judge.write(time.perf_counter() - begun)
    if not judge.ranks.is_rank_zero:
        return
    print(part.markdown())
    print(judge.out / PAGE)
    mode = RunOptions(wandb=wandb).wandb_mode()
    if where := track_parts(f"sweep {found.name}", [part], mode, project, judge.out):
        print(where)
    for line in [*judge.left_out, *judge.failures]:
        print(f"sketchembed: {line}", file=sys.stderr)
    if judge.failures:
        raise SystemExit(2)


def _wanted(text: str, found: SweepFolder) -> list[str]:
    if text == "auto":
        return list(PARTS) if ALPHA in found.varied() else ["fewshot"]
    names = [name.strip() for name in text.split(",")]
    for name in names:
        check_known("part of a sweep's report", name, (*PARTS, "auto"))
    return names


class Judge:
    """Judges the runs of a sweep; every verdict is kept by the checkpoint's digest and what was asked.

    Args:
        sweep: its folder.
        out: where to write.
        data: folder of the data sets.
        ranks: of the work among processes.
        seed: of episodes and drawings.
        fresh: judge anew what has been judged.
        classifier: trains or loads the classifiers of the recognizability part.
    """

    def __init__(
        self,
        sweep: SweepFolder,
        out: Path,
        data: Path,
        ranks: Ranks,
        seed: int,
        fresh: bool,
        classifier: ClassifierSource | None = None,
    ) -> None:
        self.sweep, self.out, self.data, self.ranks = sweep, out, data, ranks
        self.seed, self.fresh, self.classifier = seed, fresh, classifier
        self.left_out: list[str] = []
        self.failures: list[str] = []
        self.facts: dict[str, Any] = {}
        self.finished = {name: path for name in sweep.runs if (path := sweep.finished(name))}
        model: Mapping[str, Any] = {}
        for name in self.finished:
            at = sweep.run(name)
            model = (at.facts.get("model") if at else None) or model
        data_name = "mini-imagenet" if model.get("channels") == 3 else "omniglot"
        runs = []
        for name, run in sweep.runs.items():
            at = sweep.run(name)
            curves = read_curves(at.path / "metrics.jsonl") if at else {}
            runs.append(JudgedRun(name, run.point, sweep.state(name), name in self.finished, curves))
        self.results = SweepResults(sweep.name, runs, data_name, str(model.get("encoder", "conv4")))

    def fewshot(self, settings: str | None, episodes: int | None, curve_episodes: int) -> None:
        """Measure few-shot accuracy of each run's last checkpoint, and of those along the way.

        Args:
            settings: as 5w1s,20w5s; the paper's if not given.
            episodes: of each setting; the released code's if not given.
            curve_episodes: of 20-way 1-shot for the accuracy over steps; 0 leaves it out.
        """
        name = cast(DataName, self.results.data)
        whole = FewShotProtocol(name, settings=settings, episodes=episodes, seed=self.seed, baselines="none")
        setting = STEP_SETTING if name == "omniglot" else "5w1s"
        curve = FewShotProtocol(
            name, settings=setting, episodes=curve_episodes or 1, seed=self.seed, baselines="none"
        )

        def judge(run: JudgedRun, path: Path) -> None:
            run.scores = self._scores(run.name, find(path), whole)
            files = checkpoints_of(path)
            # Without milestones two checkpoints are kept, to go on from.
            if curve_episodes and len(files) > 2:
                places = np.linspace(0, len(files) - 1, min(len(files), MOST_STEPS)).round().astype(int)
                for file in (files[place] for place in places):
                    step = step_of(file)
                    if step is not None:
                        run.over_steps[step] = self._scores(run.name, file, curve)[setting]

        self.facts |= {"data": name, "episodes": whole.count, "seed": self.seed}
        self._each("few-shot accuracy", judge)

    def _scores(self, run: str, file: Path, protocol: FewShotProtocol) -> dict[str, Interval]:
        asked = {"fewshot": asdict(protocol), "count": protocol.count}

        def compute() -> dict[str, Any]:
            report = protocol.run([Model.load(file)], Path("runs"), self.data, lambda: self.ranks)
            (scores,) = report.scores.values()
            return {key: score.to_dict() for key, score in scores.items()}

        kept = self._kept(f"{run}-{file.stem}-{protocol.settings or 'paper'}", file, asked, compute)
        return {key: Interval(score["mean"], score["ci95"]) for key, score in kept.items()}

    def recognizability(self) -> None:
        """Let classifiers recognise what each run's last model draws."""

        def judge(run: JudgedRun, path: Path) -> None:
            file = find(path)

            def compute() -> dict[str, float]:
                # The classifiers lie where `sketchembed evaluate recognizability` has its own.
                context = EvaluationContext(
                    str(file), "none", folder=str(self.data), seed=self.seed, classifier=self.classifier
                )
                context.ranks = self.ranks
                return recognizability(context).values

            values = self._kept(f"{run.name}-recognizability", file, {"recognizability": {}}, compute)
            run.recognised = {which: values[f"{which}/{DRAWN}/accuracy"] for which in ("seen", "unseen")}

        self._each("recognizability", judge)

    def _each(self, what: str, judge: Callable[[JudgedRun, Path], None]) -> None:
        """Judge every finished run; where the data are missing, once is enough."""
        for run in self.results.runs:
            path = self.finished.get(run.name)
            if path is None:
                continue
            try:
                judge(run, path)
            except (DataError, ConfigError) as error:
                self.left_out.append(f"{what} is left out: {error}")
                return
            except SketchEmbedError as error:
                self.failures.append(f"{what} of {run.name} could not be computed: {error}")

    def _kept(
        self, name: str, file: Path, asked: Mapping[str, Any], compute: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return a verdict that was kept, of the same checkpoint and question, or compute and keep it."""
        place = self.out / "runs" / f"{name}.json"
        whole = {**asked, "checkpoint": digest(file)[:16], "folder": str(self.data), "seed": self.seed}
        text = json.dumps(whole | {"version": __version__}, sort_keys=True, default=str)
        request = hashlib.sha256(text.encode()).hexdigest()[:16]
        kept = None
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = parse_json(place.read_text("utf-8"))
            if found[REQUEST] == request and not self.fresh:
                kept = found["values"]
        # All processes compute, or none does.
        kept = self.ranks.broadcast(kept)
        if kept is None:
            begun = time.perf_counter()
            kept = compute()
            if self.ranks.is_rank_zero:
                plain = {REQUEST: request, "checkpoint": str(file), "values": kept}
                with whole_file(place) as written:
                    written.write(json.dumps(plain, indent=1).encode())
                print(f"{name}: {duration(time.perf_counter() - begun)}", flush=True)
        return cast(dict[str, Any], kept)

    def write(self, seconds: float) -> Part:
        """Write what there is: a page, tables and numbers, figures.

        Args:
            seconds: that it took.
        """
        results, done = self.results, len(self.finished)
        about = f"{done} of {len(results.runs)} runs are done."
        about += "".join(f"\n\n{line}" for line in [*self.left_out, *self.failures])
        values = {
            f"{run.name}/{key}": score.mean for run in results.runs for key, score in run.scores.items()
        }
        part = Part(
            "sweep",
            f"Sweep {results.name}",
            about,
            results.tables(),
            results.figures(),
            values=values,
            facts=self.facts,
            seconds=round(seconds, 1),
        )
        if self.ranks.is_rank_zero:
            part.write(self.out)
            page = ReportPage(
                part.title,
                f"Written {datetime.now().astimezone():%Y-%m-%d %H:%M}.",
                {"runs": f"{done} of {len(results.runs)} done", "folder": str(self.sweep.path), **self.facts}
                | {"encoder": results.encoder, "version": __version__},
                [Entry(part.name, part.title, "done", part)],
                warning=self._announcement(),
                common=self.facts,
            )
            page.write(self.out / PAGE)
        return part

    def _announcement(self) -> str:
        """Return what the runs must not be taken for, if anything."""
        for name in self.finished:
            run = self.sweep.run(name)
            if run and run.facts.get("announcement"):
                return str(run.facts["announcement"])
        return ""
