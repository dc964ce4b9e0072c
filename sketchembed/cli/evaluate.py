"""`sketchembed evaluate`: one figure or table of the paper, from a checkpoint."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields

from sketchembed.cli.evaluate_fewshot import fewshot
from sketchembed.cli.parser import OneLine, command, underscored
from sketchembed.errors import check_known
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.parts import PARTS, make, summary
from sketchembed.evaluation.wandb_results import track_parts
from sketchembed.reporting.part import Part
from sketchembed.runs.folder import RunOptions
from sketchembed.runs.process import tune_process
from sketchembed.training.recognizability_classifier import classifier


def run_part(name: str, args: list[str]) -> None:
    """Parse a part's command line, make the part, write it and track it.

    Args:
        name: of the part.
        args: without the program's and the part's name.
    """
    parser = OneLine(prog=f"sketchembed evaluate {name}", description=summary(name) + ".")
    parser.add_function_arguments(PARTS[name], skip={"context"}, as_positional=True, fail_untyped=True)
    parser.add_class_arguments(EvaluationContext, skip={"classifier"})
    given = dict(parser.instantiate(parser.parse_args(_named(PARTS[name], args))))
    shared = {field.name: given.pop(field.name) for field in fields(EvaluationContext) if field.name in given}
    tune_process()
    context = EvaluationContext(**shared, classifier=classifier)
    part = make(name, context, **given)
    if not context.ranks.is_rank_zero:
        return
    print(part.markdown())
    for path in part.write(context.out):
        print(path)
    mode = RunOptions(wandb=context.wandb).wandb_mode()
    if where := track_parts(name, [part], mode, context.project, context.out):
        print(where)


def _named(function: Callable[..., Part], args: list[str]) -> list[str]:
    """Return a command line in which a word that comes first has the name of the part's first option.

    What a part is asked about may so be said without a name, and be left out.
    """
    options = [found for found in inspect.signature(function).parameters.values() if found.name != "context"]
    # What has a blank, as "-circle + square", is a word.
    if not args or (args[0].startswith("-") and " " not in args[0]) or not options:
        return args
    if options[0].default is inspect.Parameter.empty:
        return args
    return [f"--{options[0].name}={args[0]}", *args[1:]]


def run(args: list[str]) -> None:
    """Run one evaluation, or list them.

    Args:
        args: command line after the word ``evaluate``.
    """
    if not args or args[0] in ("-h", "--help"):
        lines = ["usage: sketchembed evaluate PART ...", ""]
        lines += [f"  {name:15} {summary(name)}" for name in PARTS]
        print("\n".join([*lines, "", "`sketchembed evaluate PART --help` says more."]))
        return
    check_known("command", args[0], PARTS)
    name, options = args[0], underscored(args[1:])
    if name == "fewshot":  # as a command it compares several checkpoints too
        command(fewshot, "evaluate fewshot")(options)
    else:
        run_part(name, options)
