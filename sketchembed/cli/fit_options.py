"""The short options of `sketchembed fit`, its presets, and its help."""

from __future__ import annotations

import argparse

from sketchembed.runs.process import find_device
from sketchembed.training.presets import ABOUT, AUTO, expand_preset, read_preset

SHORT = {
    "--steps": ("--trainer.max_steps", "N", "number of training steps"),
    "--batch_size": ("--data.init_args.batch_size", "N", "drawings or photos in a step"),
    "--lr": ("--model.init_args.lr", "RATE", "initial learning rate of Adam"),
}
"""Short names of options, with the full name, a placeholder of the value, and a description."""
DEFAULT_PRESET = "auto"
HELP_ALL = "--help_all"  # the help that LightningCLI writes, with several hundred options
FREQUENT = f"""\
frequent options of the complete list:
  --config FILE         a configuration file; several are merged, without a preset unless one is named
  --seed_everything N   seed of weights, noise and the order of the data
  --data.init_args.folder FOLDER
                        folder of the data sets (default: SKETCHEMBED_DATA, else data)
  --run.name NAME, --run.root FOLDER
                        name of the run, and folder of all runs (default: runs)
  --run.wandb MODE      offline, online or disabled
  --ckpt_path FILE      checkpoint to continue from, in a new run
  --print_config        print the complete configuration, and do not train
  {HELP_ALL}            list all options
"""


def expand_short_options(args: list[str]) -> list[str]:
    """Return a command line with the full names of the short options; hyphens may stand for underscores.

    Raises:
        ConfigError: if ``--device`` names a device that does not exist.
    """
    full, words = list[str](), iter(args)
    for word in words:
        option, equals, value = word.partition("=")
        name = "--" + option.removeprefix("--").replace("-", "_") if option.startswith("--") else option
        if name in SHORT:
            full.append(SHORT[name][0] + equals + value)
        elif name == "--device":
            chosen = value if equals else next(words, "")
            device = find_device(chosen)
            full.append(f"--trainer.accelerator={'auto' if chosen == 'auto' else device.type}")
            full += [] if device.index is None else [f"--trainer.devices=[{device.index}]"]
        else:
            full.append(word)
    return full


def split_preset(args: list[str]) -> tuple[str | None, list[str]]:
    """Return the name of the preset and the other arguments; for ``--help``, print it and exit.

    Without ``--preset``, the preset is `DEFAULT_PRESET`. It is None if a configuration file is given, or both
    ``--model`` and ``--data``.
    """
    parser = argparse.ArgumentParser(
        prog="sketchembed fit",
        usage="%(prog)s [--preset NAME] [--steps N] [--batch_size N] [--lr RATE] [--device NAME] [options]",
        description="Train a model. The same command resumes a run that was stopped.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    about = f"a configuration from the list below (default: {DEFAULT_PRESET})"
    parser.add_argument("--preset", nargs="?", const="", metavar="NAME", help=about)
    # expand_short_options() has replaced these. They are listed in the help.
    for name, (path, value, about) in SHORT.items():
        parser.add_argument(name, metavar=value, help=f"{about}; short for {path}")
    about = "auto, cpu, cuda, cuda:1, ...; --trainer.devices 2 trains on two GPUs"
    parser.add_argument("--device", metavar="NAME", help=about)
    if any(word in ("-h", "--help") for word in args):
        parser.epilog = f"{FREQUENT}\n{preset_table()}"
        parser.print_help()
        raise SystemExit(0)
    given, rest = parser.parse_known_args(args)
    options = {word.partition("=")[0] for word in rest}
    configured = {"--model", "--data"} <= options or options & {"-c", "--config", HELP_ALL}
    name = DEFAULT_PRESET if given.preset is None and not configured else given.preset
    return name, ["--help" if word == HELP_ALL else word for word in rest]


def preset_table() -> str:
    """Return the presets as a table of text with their steps, batch sizes and learning rates."""
    lines = ["presets:", f"  {'':24}{'steps':>8}{'batch':>7}{'rate':>8}"]
    for name in (*AUTO, *ABOUT):
        if name in AUTO:
            gpu, cpu = AUTO[name]
            lines.append(f"  {name:24}{'':23}  {gpu} with a GPU, otherwise {cpu}")
            continue
        found = read_preset(name)
        model, data = found["model"]["init_args"], found["data"]["init_args"]
        steps, batch = f"{found['trainer']['max_steps']:,}", data.get("batch_size", "-")
        lines.append(f"  {name:24}{steps:>8}{batch:>7}{model['lr']:>8g}  {ABOUT[name]}")
    return "\n".join(lines)


def preset_arguments(name: str) -> tuple[str, list[str], list[str]]:
    """Return the name of a preset, its arguments, and lines to print about it."""
    name, arguments, why = expand_preset(name)
    more = "        `sketchembed fit --help` lists the presets; options such as --steps 1000 change one"
    return name, arguments, [f"preset  {name} ({why})", more]
