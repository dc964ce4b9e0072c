"""`sketchembed report`: all evaluations of a checkpoint on one page."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from sketchembed.cli.parser import OneLineErrorParser, normalize_options, rename_device
from sketchembed.errors import check_known
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.parts import PARTS
from sketchembed.evaluation.report_builder import PAGE, ReportBuilder
from sketchembed.evaluation.sweeps.sweep_report import sweep_report
from sketchembed.evaluation.wandb_results import track_parts
from sketchembed.files.writing import check_output
from sketchembed.runs.process import tune_process
from sketchembed.training.recognizability_classifier import classifier


def run(args: list[str]) -> None:
    """Compute the requested parts, write their page and track them as one W&B run.

    Raises:
        SystemExit: with 2 if a part could not be computed, 130 if stopped.
    """
    args = rename_device(normalize_options(args))
    if any(word.partition("=")[0] == "--sweep" for word in args):
        _report_sweep(args)
        return
    parser = _parser()
    given: dict[str, Any] = parser.instantiate(parser.parse_args(args)).as_dict()
    names = _part_names(given["parts"])
    context = EvaluationContext(
        **{field.name: given[field.name] for field in fields(EvaluationContext) if field.name in given}
        | {"out": Path("results"), "classifier": classifier}
    )
    tune_process()
    check_output(given["out"] or Path("results"))
    context.out = given["out"] or Path("results") / f"report-{context.model.run}"
    report = ReportBuilder(context, {name: given.get(_key(name)) or {} for name in names}, given["fresh"])
    try:
        page = report.run()
    except KeyboardInterrupt:
        if context.ranks.is_rank_zero:
            print(
                f"sketchembed: stopped; {len(report.parts)} of {len(names)} parts are finished, see "
                f"{context.out / PAGE}. The same command computes the others",
                file=sys.stderr,
            )
        raise SystemExit(130) from None
    if not context.ranks.is_rank_zero:
        return
    print(page)
    weights = [model.path for model in context.models]
    track_parts(f"report {context.model.run}", report.parts, context, weights)
    for reason in dict.fromkeys(report.failures.values()):
        failed = ", ".join(name for name, why in report.failures.items() if why == reason)
        print(f"sketchembed: {failed} could not be computed: {reason}", file=sys.stderr)
    if report.failures:
        raise SystemExit(2)


def _report_sweep(args: list[str]) -> None:
    parser = OneLineErrorParser(prog="sketchembed report")
    parser.add_function_arguments(sweep_report, skip={"context"}, fail_untyped=True)
    chosen_per_run = {"checkpoint", "vae", "runs", "out", "classifier"}
    parser.add_class_arguments(EvaluationContext, skip=chosen_per_run)
    options = parser.instantiate(parser.parse_args(args)).as_dict()
    names = {field.name for field in fields(EvaluationContext)} - chosen_per_run
    context = EvaluationContext(**{name: options.pop(name) for name in names}, classifier=classifier)
    sweep_report(context, **options)


def _parser() -> OneLineErrorParser:
    parser = OneLineErrorParser(
        prog="sketchembed report",
        description="All evaluations of a model on one page, with the paper's numbers. The same command "
        "resumes a report that was stopped. `--sweep FOLDER` evaluates the runs of a sweep instead, and has "
        "its own options: `--sweep FOLDER --help`.",
    )
    parser.add_argument(
        "--parts", type=str, default="all", help=f"all, or names separated by commas: {', '.join(PARTS)}"
    )
    parser.add_argument("--fresh", action="store_true", help="compute every part again")
    parser.add_argument(
        "--out",
        type=Path | None,
        default=None,
        help="folder to write to; by default results/report-NAME of the model's run",
    )
    parser.add_class_arguments(EvaluationContext, skip={"out", "classifier"})
    for name, function in PARTS.items():
        parser.add_function_arguments(function, _key(name), skip={"context"}, fail_untyped=True)
    return parser


def _key(name: str) -> str:
    """Return the name of a part's group of options."""
    return name.replace("-", "_")


def _part_names(text: str) -> list[str]:
    """Return the requested parts in the order of the report."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        check_known("part", name, [*PARTS, "all"])
    return [name for name in PARTS if name in names or names == ["all"]]
