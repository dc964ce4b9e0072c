"""The one command: ``sketchembed fit | sweep | data | evaluate | report | draw | …``."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from sketchembed._version import __version__
from sketchembed.errors import SketchEmbedError, check_known


def _jsonargparse(function: Any, name: str | None = None) -> Callable[[list[str]], None]:
    """Return a command that parses what `function` takes.

    Args:
        function: or several by their names.
        name: of the command; the function's if not given.
    """
    name = name or function.__name__

    def run(args: list[str]) -> None:
        from jsonargparse import auto_cli

        from sketchembed.command_line import OneLine

        program = f"sketchembed {name}"
        given = _underscored(args)
        auto_cli(function, args=given, as_positional=True, parser_class=OneLine, prog=program)

    return run


def _underscored(args: list[str]) -> list[str]:
    """Make ``--per-class`` as good as ``--per_class``."""
    return [
        "=".join([part.replace("-", "_").replace("__", "--", 1), *rest])
        if part.startswith("--")
        else argument
        for argument in args
        for part, *rest in [argument.split("=", 1)]
    ]


def draw(
    images: Path,
    checkpoint: Path,
    out: Path = Path("drawings"),
    temperature: float = 0.0,
    samples: int = 1,
    size: int = 256,
    seed: int = 0,
) -> None:
    """Draw an image, or every image of a folder, stroke by stroke, as SVG and PNG.

    Args:
        images: a PNG, JPEG, BMP, GIF, WEBP or TIFF file, or a folder of such: photos of any size and shape if
            the model was trained on photos, else pictures of drawings, dark on light or light on dark.
        checkpoint: a .ckpt or .safetensors file, or a run's folder.
        out: folder to write to.
        temperature: of the sampling; 0 is greedy.
        samples: drawings of each image.
        size: side of the drawings in pixels.
        seed: of the sampling.
    """
    from sketchembed.data.model_inputs import draw_files

    for path in draw_files(images, checkpoint, out, temperature, samples, size, seed):
        print(path)


def export(
    checkpoint: Path,
    out: Path,
    dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    encoder: bool = False,
) -> None:
    """Write the model, or baseline, of a checkpoint as a safetensors file, with sizes and where it is from.

    Args:
        checkpoint: a .ckpt file, or a run's folder.
        out: the file to write.
        dtype: of the weights.
        encoder: write of a SketchEmbedNet the half that embeds alone, which cannot draw.
    """
    import torch

    from sketchembed.hub.model_files import find, load, load_network, save
    from sketchembed.runs.provenance import origin

    net = load(checkpoint).halved() if encoder else load_network(checkpoint)
    path = save(net, out, getattr(torch, dtype), origin(find(checkpoint)))
    print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


def page(run: Path) -> None:
    """Write a run's page anew.

    Args:
        run: the run's folder.
    """
    from sketchembed.reporting.run_page import write_run_page
    from sketchembed.reporting.runs_page import update_runs_page

    print(write_run_page(run))
    update_runs_page(run)


def runs(root: Path = Path("runs")) -> None:
    """Write the page of all runs, a table to sort and filter.

    Args:
        root: folder of the runs.
    """
    from sketchembed.errors import SketchEmbedError
    from sketchembed.reporting.runs_page import write_runs_page

    try:
        print(write_runs_page(root))
    except (FileNotFoundError, NotADirectoryError, FileExistsError) as error:
        raise SketchEmbedError(
            str(error), expected="a folder of runs", fix="Name it: sketchembed runs FOLDER"
        ) from None


def _runs(args: list[str]) -> None:
    # The folder needs no name, and may be left out.
    named = [f"--root={args[0]}", *args[1:]] if args and not args[0].startswith("-") else args
    _jsonargparse(runs)(named)


def _dashboard(args: list[str]) -> None:
    from sketchembed.reporting.wandb_dashboard import dashboard

    flags = ("--dry_run", "--dry-run")
    _jsonargparse(dashboard)(["--dry_run=true" if argument in flags else argument for argument in args])


def _replay(args: list[str]) -> None:
    from sketchembed.replay import replay

    _jsonargparse(replay)(args)


def _bench(args: list[str]) -> None:
    from sketchembed.benchmarks.commands import bench

    _jsonargparse(bench)(args)


def _data(args: list[str]) -> None:
    from sketchembed.data.commands import COMMANDS

    _jsonargparse(COMMANDS, "data")(args)


def _evaluate(args: list[str]) -> None:
    from sketchembed.evaluation.fewshot_command import fewshot
    from sketchembed.evaluation.parts import PARTS, about, run_part

    commands: Commands = {name: (about(name), partial(run_part, name)) for name in PARTS}
    # As a command it compares several checkpoints too.
    commands["fewshot"] = (about("fewshot"), _jsonargparse(fewshot, "evaluate fewshot"))
    _dispatch("sketchembed evaluate", commands, [*args[:1], *_underscored(args[1:])])


def _report(args: list[str]) -> None:
    from sketchembed.evaluation.report_command import report

    report(_underscored(args))


def _results(args: list[str]) -> None:
    from sketchembed.results import results

    _jsonargparse(results)(args)


def _sweep(args: list[str]) -> None:
    from sketchembed.sweeps.command import sweep

    sweep(args)


def _fit(args: list[str]) -> None:
    from sketchembed.fit import fit

    fit(args)


Commands = dict[str, tuple[str, Callable[[list[str]], None]]]

COMMANDS: Commands = {
    "fit": ("train a model", _fit),
    "sweep": ("train by a W&B sweep file, without an account", _sweep),
    "data": ("fetch and prepare data sets", _data),
    "evaluate": ("measure what an embedding is worth", _evaluate),
    "report": ("write one page of all evaluations of a model, beside the paper's numbers", _report),
    "results": ("measure the packaged models, and write RESULTS.md", _results),
    "draw": ("draw images with a trained model", _jsonargparse(draw)),
    "export": ("write a checkpoint's model as safetensors", _jsonargparse(export)),
    "page": ("write a run's page anew", _jsonargparse(page)),
    "runs": ("write the page of all runs anew", _runs),
    "dashboard": ("make a view of the project on W&B", _dashboard),
    "replay": ("compute a step again that was not finite, and say where that arose", _replay),
    "bench": ("time every part beside a plain version of it", _bench),
}


def usage(program: str, commands: Commands) -> str:
    """Return what a command line offers."""
    width = max(len(name) for name in commands) + 1
    lines = [f"sketchembed {__version__}", "", f"usage: {program} COMMAND ...", ""]
    lines += [f"  {name:{width}} {about}" for name, (about, _) in commands.items()]
    return "\n".join([*lines, "", f"`{program} COMMAND --help` says more."])


def _dispatch(program: str, commands: Commands, args: list[str]) -> None:
    if not args or args[0] in ("-h", "--help"):
        print(usage(program, commands))
        return
    check_known("command", args[0], commands)
    commands[args[0]][1](args[1:])


def main(args: list[str] | None = None) -> None:
    """Run the command line; a mistake that the user can mend is one line and exit status 2.

    Training that ends at numbers which are not finite has the status 1.

    Args:
        args: without the program's name; those of the process if not given.
    """
    args = sys.argv[1:] if args is None else args
    if args[:1] == ["--version"]:
        print(__version__)
        return
    try:
        _dispatch("sketchembed", COMMANDS, args)
    except SketchEmbedError as error:
        print(f"sketchembed: {error}", file=sys.stderr)
        raise SystemExit(error.status) from None
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = f"the disk is full ({error}). Free some room and start again" if full else str(error)
        print(f"sketchembed: {what}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("sketchembed: stopped", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
