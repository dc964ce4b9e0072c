"""`sketchembed report`: all evaluations of a checkpoint on one page, beside the paper's numbers."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from sketchembed.cli.parser import OneLine, underscored
from sketchembed.errors import check_known
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.parts import PARTS
from sketchembed.evaluation.report_builder import PAGE, ReportBuilder
from sketchembed.evaluation.sweeps.sweep_report import sweep_report
from sketchembed.evaluation.wandb_results import track_parts
from sketchembed.runs.folder import RunOptions
from sketchembed.runs.process import tune_process
from sketchembed.training.recognizability_classifier import classifier


def run(args: list[str]) -> None:
    """Compute the parts that are asked for, write their page and track them as one run.

    Args:
        args: the command line, without the program's and the command's name.

    Raises:
        SystemExit: with 2 if a part could not be computed, 130 if it was stopped.
    """
    args = underscored(args)
    if any(word.partition("=")[0] == "--sweep" for word in args):
        parser = OneLine(prog="sketchembed report")
        parser.add_function_arguments(sweep_report, skip={"classifier"}, fail_untyped=True)
        sweep_report(**parser.instantiate(parser.parse_args(args)).as_dict(), classifier=classifier)
        return
    parser = OneLine(
        prog="sketchembed report",
        description="All evaluations of a model on one page, beside the paper's numbers. What is finished is "
        "kept: the same command goes on where it was stopped. `--sweep FOLDER` judges the runs of a sweep "
        "instead, and has options of its own: `--sweep FOLDER --help`.",
    )
    parser.add_argument(
        "--parts", type=str, default="all", help=f"of {', '.join(PARTS)}, with commas; or all"
    )
    parser.add_argument("--fresh", action="store_true", help="compute every part anew")
    parser.add_argument(
        "--out",
        type=Path | None,
        default=None,
        help="folder to write to; results/report-NAME of the model's run if not given",
    )
    parser.add_class_arguments(EvaluationContext, skip={"out", "classifier"})
    for name, function in PARTS.items():
        parser.add_function_arguments(function, _key(name), skip={"context"}, fail_untyped=True)
    given: dict[str, Any] = parser.instantiate(parser.parse_args(args)).as_dict()
    wanted = _wanted(given["parts"])
    context = EvaluationContext(
        **{field.name: given[field.name] for field in fields(EvaluationContext) if field.name in given}
        | {"out": Path("results"), "classifier": classifier}
    )
    tune_process()
    context.out = given["out"] or Path("results") / f"report-{context.model.run}"
    made = ReportBuilder(context, {name: given.get(_key(name)) or {} for name in wanted}, given["fresh"])
    try:
        page = made.run()
    except KeyboardInterrupt:
        if context.ranks.is_rank_zero:
            print(
                f"sketchembed: stopped; {len(made.parts)} of {len(wanted)} parts are kept in {context.out} "
                f"and shown by {context.out / PAGE}. The same command goes on",
                file=sys.stderr,
            )
        raise SystemExit(130) from None
    if not context.ranks.is_rank_zero:
        return
    print(page)
    mode = RunOptions(wandb=context.wandb).wandb_mode()
    if where := track_parts(f"report {context.model.run}", made.parts, mode, context.project, context.out):
        print(where)
    for name, message in made.failures.items():
        print(f"sketchembed: {name} could not be computed: {message}", file=sys.stderr)
    if made.failures:
        raise SystemExit(2)


def _key(name: str) -> str:
    """Return the name of a part's options on the command line."""
    return name.replace("-", "_")


def _wanted(text: str) -> list[str]:
    """Return the parts that are asked for, in the order of the report."""
    names = [name.strip() for name in text.split(",")]
    if names == ["all"]:
        return list(PARTS)
    for name in names:
        check_known("part", name, [*PARTS, "all"])
    return [name for name in PARTS if name in names]
