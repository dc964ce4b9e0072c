"""`sketchembed evaluate`: one figure or table of the paper for a checkpoint."""

from __future__ import annotations

import inspect
from dataclasses import fields

from sketchembed.cli import evaluate_fewshot
from sketchembed.cli.parser import OneLineErrorParser, name_first_argument, normalize_options, rename_device
from sketchembed.errors import check_known
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.parts import PARTS, make, summary
from sketchembed.evaluation.wandb_results import track_parts
from sketchembed.files.progress_bar import ProgressBar
from sketchembed.files.writing import check_output
from sketchembed.runs.process import tune_process
from sketchembed.training.recognizability_classifier import classifier


def run(args: list[str]) -> None:
    """Run one evaluation, or list them."""
    if not args or args[0] in ("-h", "--help"):
        lines = ["usage: sketchembed evaluate PART ...", ""]
        lines += [f"  {name:15} {summary(name)}" for name in PARTS]
        print("\n".join([*lines, "", "`sketchembed evaluate PART --help` lists the options of a part."]))
        return
    check_known("command", args[0], PARTS)
    if args[0] == "fewshot":  # as a command it also compares several checkpoints
        evaluate_fewshot.run(args[1:])
    else:
        evaluate_part(args[0], rename_device(normalize_options(args[1:])))


def evaluate_part(name: str, args: list[str]) -> None:
    """Compute a part, write it and track it; its first option may be given without the option's name."""
    function = PARTS[name]
    parser = OneLineErrorParser(prog=f"sketchembed evaluate {name}", description=summary(name) + ".")
    parser.add_function_arguments(function, skip={"context"}, as_positional=True, fail_untyped=True)
    parser.add_class_arguments(EvaluationContext, skip={"classifier"})
    options = [found for found in inspect.signature(function).parameters.values() if found.name != "context"]
    if options and options[0].default is not inspect.Parameter.empty:
        args = name_first_argument(args, options[0].name)
    given = dict(parser.instantiate(parser.parse_args(args)))
    shared = {field.name: given.pop(field.name) for field in fields(EvaluationContext) if field.name in given}
    tune_process()
    context = EvaluationContext(**shared, classifier=classifier)
    check_output(context.out)
    with ProgressBar(f"Evaluating {name}"):
        part = make(name, context, **given)
    if context.ranks.is_rank_zero:
        print(part.markdown())
        print(*part.write(context.out), sep="\n")
        track_parts(name, [part], context, [model.path for model in context.models])
