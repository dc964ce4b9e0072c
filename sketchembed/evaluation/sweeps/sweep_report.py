"""`sketchembed report --sweep`: evaluate the runs of a sweep, and compare them with the paper's tables."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import numpy as np

from sketchembed._version import __version__
from sketchembed.data.folders import data_folder
from sketchembed.errors import ConfigError, DataError, SketchEmbedError, check_known
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.fewshot.protocol import CURVE_EPISODES, DataName, FewShotProtocol
from sketchembed.evaluation.models import Model, checkpoints_of
from sketchembed.evaluation.recognizability.predictions import DRAWN
from sketchembed.evaluation.recognizability.recognizability_part import recognizability
from sketchembed.evaluation.report_builder import PAGE, REQUEST, duration
from sketchembed.evaluation.sweeps.sweep_figures import sweep_figures
from sketchembed.evaluation.sweeps.sweep_tables import ALPHA, STEP_SETTING, EvaluatedRun, SweepResults
from sketchembed.evaluation.wandb_results import track_parts
from sketchembed.files.progress_bar import ProgressBar
from sketchembed.files.reading import digest
from sketchembed.files.serialization import parse_json
from sketchembed.files.writing import whole_file
from sketchembed.hub.model_files import find, step_of
from sketchembed.reporting.intervals import Interval
from sketchembed.reporting.part import Part
from sketchembed.reporting.report_page import Entry, ReportPage
from sketchembed.runs.metrics import read_curves
from sketchembed.runs.process import tune_process
from sketchembed.runs.sweep_folder import SweepFolder

PARTS = ("fewshot", "recognizability")
MOST_STEPS = 12  # maximum number of checkpoints of a run for the accuracy over steps, as in table 5


def sweep_report(
    context: EvaluationContext,
    sweep: Path,
    parts: str = "auto",
    settings: str | None = None,
    episodes: int | None = None,
    curve_episodes: int = CURVE_EPISODES,
    fresh: bool = False,
    out: Path | None = None,
) -> None:
    """Evaluate the finished runs of a sweep, and write tables with the paper's (tables 3, 5, 9, 10 and 11).

    Results are cached: the same command resumes an interrupted evaluation.

    Args:
        context: the data, ranks and options that all runs share.
        sweep: folder of a sweep, or of runs started by W&B agents.
        parts: fewshot, recognizability, or both separated by a comma; auto is fewshot, and also
            recognizability if alpha_max is swept.
        settings: few-shot settings such as 5w1s,20w5s; the paper's if not given.
        episodes: number of episodes per setting; by default 2000 for Omniglot and 1000 for mini-ImageNet.
        curve_episodes: number of episodes per checkpoint for the accuracy over steps, which needs
            `--milestones.count`; 0 to skip it.
        fresh: ignore cached results.
        out: output folder; results/NAME with the name of the sweep's folder if not given.

    Raises:
        ConfigError: if there is no sweep, or a part is not known.
        SystemExit: with 2 if the evaluation of a finished run failed, 130 if it was interrupted.
    """
    found = SweepFolder.read(sweep)
    wanted = _wanted(parts, found)
    tune_process()
    context.out = out or Path("results") / sweep.resolve().name
    evaluator = SweepEvaluator(found, context, fresh)
    try:
        if "fewshot" in wanted:
            evaluator.fewshot(settings, episodes, curve_episodes)
        if "recognizability" in wanted:
            evaluator.recognizability()
    except KeyboardInterrupt:
        evaluator.write()
        if context.ranks.is_rank_zero:
            print("sketchembed: interrupted; the same command resumes the evaluation", file=sys.stderr)
        raise SystemExit(130) from None
    part = evaluator.write()
    if context.ranks.is_rank_zero:
        print(part.markdown())
        print(context.out / PAGE)
        weights = [find(path) for path in evaluator.finished.values()]
        track_parts(f"sweep {found.name}", [part], context, weights)
        for line in [*evaluator.skipped, *evaluator.failures]:
            print(f"sketchembed: {line}", file=sys.stderr)
        if evaluator.failures:
            raise SystemExit(2)


def _wanted(text: str, found: SweepFolder) -> list[str]:
    if text == "auto":
        return list(PARTS) if ALPHA in found.varied() else ["fewshot"]
    names = [name.strip() for name in text.split(",")]
    for name in names:
        check_known("part of a sweep's report", name, (*PARTS, "auto"))
    return names


class SweepEvaluator:
    """Evaluates the runs of a sweep. Results are cached by the checkpoint's digest and the options."""

    def __init__(self, sweep: SweepFolder, context: EvaluationContext, fresh: bool) -> None:
        self.sweep, self.context, self.fresh = sweep, context, fresh
        self.begun = time.perf_counter()
        self.data = data_folder(context.folder)
        self.skipped: list[str] = []
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
            runs.append(EvaluatedRun(name, run.point, sweep.state(name), name in self.finished, curves))
        self.results = SweepResults(sweep.name, runs, data_name, str(model.get("encoder", "conv4")))

    def fewshot(self, settings: str | None, episodes: int | None, curve_episodes: int) -> None:
        """Measure the few-shot accuracy of each run's last checkpoint, and the accuracy over steps."""
        name = cast(DataName, self.results.data)
        seed, setting = self.context.seed, STEP_SETTING if name == "omniglot" else "5w1s"
        whole = FewShotProtocol(name, settings=settings, episodes=episodes, seed=seed, baselines="none")
        curve = replace(whole, settings=setting, episodes=curve_episodes or 1)

        def evaluate(run: EvaluatedRun, path: Path) -> None:
            run.scores = self._scores(run.name, find(path), whole)
            files = checkpoints_of(path)
            # Without milestones a run has only its two newest checkpoints.
            if curve_episodes and len(files) > 2:
                places = np.linspace(0, len(files) - 1, min(len(files), MOST_STEPS)).round().astype(int)
                for file in (files[place] for place in places):
                    step = step_of(file)
                    if step is not None:
                        run.over_steps[step] = self._scores(run.name, file, curve)[setting]

        self.facts |= {"data": name, "episodes": whole.count, "seed": seed}
        self._each("few-shot accuracy", evaluate)

    def _scores(self, run: str, file: Path, protocol: FewShotProtocol) -> dict[str, Interval]:
        options = {"fewshot": asdict(protocol), "count": protocol.count}

        def compute() -> dict[str, Any]:
            report = protocol.run([Model.load(file)], Path("runs"), self.data, lambda: self.context.ranks)
            (scores,) = report.scores.values()
            return {key: score.to_dict() for key, score in scores.items()}

        cached = self._cached(f"{run}-{file.stem}-{protocol.settings or 'paper'}", file, options, compute)
        return {key: Interval(score["mean"], score["ci95"]) for key, score in cached.items()}

    def recognizability(self) -> None:
        """Measure how many drawings of each run's last model classifiers recognise."""

        def evaluate(run: EvaluatedRun, path: Path) -> None:
            file = find(path)

            def compute() -> dict[str, float]:
                # The default output folder, so that classifiers of `evaluate recognizability` are used again.
                own = replace(self.context, checkpoint=str(file), vae="none", out=EvaluationContext.out)
                own.ranks = self.context.ranks
                return recognizability(own).values

            values = self._cached(f"{run.name}-recognizability", file, {"recognizability": {}}, compute)
            run.recognised = {which: values[f"{which}/{DRAWN}/accuracy"] for which in ("seen", "unseen")}

        self._each("recognizability", evaluate)

    def _each(self, what: str, evaluate: Callable[[EvaluatedRun, Path], None]) -> None:
        """Evaluate every finished run, or none if the data are missing."""
        for run in self.results.runs:
            path = self.finished.get(run.name)
            if path is None:
                continue
            try:
                evaluate(run, path)
            except (DataError, ConfigError) as error:
                self.skipped.append(f"{what} was skipped: {error}")
                return
            except SketchEmbedError as error:
                self.failures.append(f"{what} of {run.name} failed: {error}")

    def _cached(
        self, name: str, file: Path, options: Mapping[str, Any], compute: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return the cached result for the same checkpoint and options, or compute and cache it."""
        file_path = self.context.out / "runs" / f"{name}.json"
        whole = {**options, "checkpoint": digest(file)[:16], "folder": str(self.data)}
        whole |= {"seed": self.context.seed, "version": __version__}
        text = json.dumps(whole, sort_keys=True, default=str)
        request = hashlib.sha256(text.encode()).hexdigest()[:16]
        cached = None
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = parse_json(file_path.read_text("utf-8"))
            if found[REQUEST] == request and not self.fresh:
                cached = found["values"]
        # Either all ranks compute, or none.
        cached = self.context.ranks.broadcast(cached)
        if cached is None:
            begun = time.perf_counter()
            with ProgressBar(f"Evaluating {name}"):
                cached = compute()
            if self.context.ranks.is_rank_zero:
                plain = {REQUEST: request, "checkpoint": str(file), "values": cached}
                with whole_file(file_path) as written:
                    written.write(json.dumps(plain, indent=1).encode())
                print(f"{name}: {duration(time.perf_counter() - begun)}", flush=True)
        return cast(dict[str, Any], cached)

    def write(self) -> Part:
        """Write tables, figures and the page from the results so far."""
        results, done = self.results, len(self.finished)
        about = f"{done} of {len(results.runs)} runs are finished."
        about += "".join(f"\n\n{line}" for line in [*self.skipped, *self.failures])
        values = {
            f"{run.name}/{key}": score.mean for run in results.runs for key, score in run.scores.items()
        }
        part = Part(
            "sweep",
            f"Sweep {results.name}",
            about,
            results.tables(),
            sweep_figures(results),
            values=values,
            facts=self.facts,
            seconds=round(time.perf_counter() - self.begun, 1),
        )
        if self.context.ranks.is_rank_zero:
            part.write(self.context.out)
            page = ReportPage(
                part.title,
                f"Written {datetime.now().astimezone():%Y-%m-%d %H:%M}.",
                {
                    "runs": f"{done} of {len(results.runs)} finished",
                    "folder": str(self.sweep.path),
                    **self.facts,
                    "encoder": results.encoder,
                    "version": __version__,
                },
                [Entry(part.name, part.title, "done", part)],
                warning=self._announcement(),
                common=self.facts,
            )
            page.write(self.context.out / PAGE)
        return part

    def _announcement(self) -> str:
        """Return the warning of the runs' data module, if there is one."""
        runs = [run for name in self.finished if (run := self.sweep.run(name))]
        return next((str(run.facts["announcement"]) for run in runs if run.facts.get("announcement")), "")
