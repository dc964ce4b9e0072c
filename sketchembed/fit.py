"""`sketchembed fit`: LightningCLI with presets, the data found first, and a run folder that resumes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from jsonargparse import Namespace
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, instantiate_class
from pytorch_lightning.loggers import Logger

from sketchembed._version import __version__
from sketchembed.callbacks.curriculum import Curriculum
from sketchembed.callbacks.gallery import Gallery
from sketchembed.callbacks.monitor import Monitor
from sketchembed.checkpoints import WholeCheckpointIO, find, read_raw
from sketchembed.configuration import trust_no_configuration
from sketchembed.data.connection import NetworkError
from sketchembed.data.drawings import DrawingDataModule
from sketchembed.data.modules import DoodlesDataModule
from sketchembed.errors import ConfigError, SketchEmbedError, check_known
from sketchembed.process import allow_tf32, quiet_lightning, tune_process
from sketchembed.reporting.run_page import write_run_page
from sketchembed.runs import Run, RunLogger, RunOptions
from sketchembed.tasks.captured_step import why_not_captured
from sketchembed.tasks.drawing import DrawingTask

PRESETS = {
    "paper": ["quickdraw.yaml"],
    "cpu": ["quickdraw.yaml", "simple.yaml", "cpu.yaml"],
    "cpu-long": ["quickdraw.yaml", "simple.yaml", "cpu.yaml", "long.yaml"],
    "resnet12": ["quickdraw.yaml", "resnet12.yaml"],
    "omniglot": ["quickdraw.yaml", "omniglot.yaml"],
    "omniglot-cpu": ["quickdraw.yaml", "omniglot.yaml", "cpu.yaml"],
    "sketchy": ["quickdraw.yaml", "sketchy.yaml"],
    "sketchy-cpu": ["quickdraw.yaml", "sketchy.yaml", "sketchy-cpu.yaml"],
    "traced": ["quickdraw.yaml", "sketchy.yaml", "traced.yaml"],
    "traced-cpu": ["quickdraw.yaml", "sketchy.yaml", "sketchy-cpu.yaml", "traced.yaml", "traced-cpu.yaml"],
    "protonet": ["protonet.yaml"],
    "vae": ["vae.yaml"],
    "vae-omniglot": ["vae.yaml", "omniglot.yaml"],
    "vae-mini-imagenet": ["vae.yaml", "mini-imagenet.yaml"],
    "vae-sketchy": ["vae.yaml", "vae-sketchy.yaml"],
    "protonet-mini-imagenet": ["protonet.yaml", "episodes-mini-imagenet.yaml", "protonet-mini-imagenet.yaml"],
    "maml": ["maml.yaml"],
    "maml-mini-imagenet": ["maml.yaml", "episodes-mini-imagenet.yaml"],
    "classifier": ["classifier.yaml"],
    "classifier-cpu": ["classifier.yaml", "classifier-cpu.yaml"],
}
AUTO = {"auto": ("paper", "cpu"), "auto-sketchy": ("sketchy", "sketchy-cpu")}
"""What stands for a preset: the one for a CUDA device, and the one without."""
FOLDER_VARIABLE = "SKETCHEMBED_RUN"
"""Tells the other processes of a run which folder the first one has opened."""
DOODLES = "sketchembed.data.modules.DoodlesDataModule"
COMMON_DATA_OPTIONS = ("folder", "batch_size", "max_length", "num_workers", "seed", "validation_drawings")


def conf_folder() -> Path:
    """Return the folder of the configuration files: of the checkout, or of the installed package."""
    package = Path(__file__).parent
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


def expand_preset(name: str) -> tuple[str, list[str], str]:
    """Return the preset that `name` means, its ``--config`` arguments, and why it was chosen.

    Args:
        name: of a preset; or ``auto``, or ``auto-sketchy`` for photos: the paper's configuration on a CUDA
            device, else the CPU preset.

    Raises:
        SketchEmbedError: if there is no such preset.
    """
    why = "as asked"
    if name in AUTO:
        cuda = torch.cuda.is_available()
        name = AUTO[name][not cuda]
        why = f"{torch.cuda.get_device_name()} found" if cuda else "no CUDA device found"
    check_known("preset", name, (*AUTO, *PRESETS))
    arguments = [part for file in PRESETS[name] for part in ("--config", str(conf_folder() / file))]
    return name, arguments, why


class FitCLI(LightningCLI):
    """LightningCLI with the project's own groups: ``curriculum``, ``gallery``, ``checkpoint``, ``run``.

    Args:
        args: the command line, beginning with the subcommand.
        preset: name of the preset among them, for the run's name.
    """

    def __init__(self, args: list[str], preset: str = "custom") -> None:
        trust_no_configuration()
        self.preset = preset
        self.announcement: str | None = None
        super().__init__(
            pl.LightningModule,
            pl.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            save_config_callback=None,
            seed_everything_default=0,
            parser_kwargs={"fit": {"description": "Train a model.", "version": __version__}},
            args=args,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Offer training alone; evaluation has commands of its own."""
        return {"fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule"}}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the project's own groups."""
        parser.add_lightning_class_args(Curriculum, "curriculum")
        parser.add_lightning_class_args(Gallery, "gallery")
        parser.add_lightning_class_args(Monitor, "monitor")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_class_arguments(RunOptions, "run")
        parser.link_arguments("seed_everything", "model.init_args.seed")
        parser.link_arguments("seed_everything", "data.init_args.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the command line and the configurations that it names.

        Raises:
            ConfigError: where the parser itself stumbles over a value's form.
        """
        try:
            super().parse_arguments(parser, args)
        except SketchEmbedError:
            raise
        except Exception as error:  # of nearly any kind; what the parser expects is a SystemExit
            what = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise ConfigError(
                f"the configuration cannot be read ({what})",
                expected="options as `sketchembed fit --help` lists them",
                fix="Correct the file that --config names, or the option",
            ) from error

    def _parse_ckpt_path(self) -> None:
        """Check the checkpoint that a user names, before minutes are spent.

        Lightning's own would take hyperparameters from it, over those of the command line.
        """
        path = self.config[self.config.subcommand].get("ckpt_path")
        if path is not None:
            read_raw(find(path))

    # ---- before anything is built ----------------------------------------------------------------

    def before_instantiate_classes(self) -> None:
        """Find the data and open the run's folder."""
        config = self.config[str(self.subcommand)]
        if config.trainer.precision == "bf16-mixed" and not has_fast_bfloat16(config.trainer.accelerator):
            say("note    this processor has no 16-bit products; training in 32-true instead of bf16-mixed")
            config.trainer.precision = "32-true"
        tune_process()
        allow_tf32()
        first = int(os.environ.get("LOCAL_RANK", "0")) == 0
        if first:
            self._find_data(config)
        network = config.model.init_args.get("network")
        if isinstance(network, Namespace) and "max_length" in network:
            # T is the data's. A link of the parser's does not reach into a dataclass.
            network.max_length = config.data.init_args.max_length
        self.run_options: RunOptions = RunOptions(**config.run.as_dict())
        if FOLDER_VARIABLE in os.environ and not first:
            self.run_folder = Run(Path(os.environ[FOLDER_VARIABLE]))
        else:
            self.run_folder = self._open_run(config)
            os.environ[FOLDER_VARIABLE] = str(self.run_folder.path)
        config.checkpoint.dirpath = str(self.run_folder.checkpoints)
        last = self.run_folder.last_checkpoint
        if config.get("ckpt_path") is None and last is not None:
            config.ckpt_path = str(last)
            # Lightning keeps what it saved under a module's hyperparameters apart; ours has none.
            config.weights_only = True

    def _find_data(self, config: Namespace) -> None:
        """Prepare the data, or fall back on doodles where there are none and no network."""
        module = instantiate_class((), config.data.as_dict())
        if not isinstance(module, DrawingDataModule):
            return
        try:
            store = module.prepare_store()
        except NetworkError as error:
            if not getattr(module, "fallback", False):
                raise
            self.announcement = (
                f"NOT {module.title.upper()}: there are no drawings in {module.folder}, and none can be "
                f"downloaded ({error}). This run uses generated doodles instead."
            )
            kept = {
                key: config.data.init_args[key] for key in COMMON_DATA_OPTIONS if key in config.data.init_args
            }
            config.data = Namespace(class_path=DOODLES, init_args=Namespace(**kept))  # type: ignore[no-untyped-call]
            say(f"!!! {self.announcement}")
            store = DoodlesDataModule(**kept).prepare_store()
        seen = sum(len(store.select([name], "train")) > 0 for name in store.class_names)
        say(f"data    {store.source}: {len(store):,} drawings of {seen} classes in {store.path}")

    def _open_run(self, config: Namespace) -> Run:
        source = config.data.class_path.rpartition(".")[2].removesuffix("DataModule").lower()
        name = self.run_options.name or f"{source}-{self.preset}-seed{config.seed_everything}"
        described = config.clone()
        described.run.resume = "auto"
        text = self._parser(self.subcommand).dump(described, skip_link_targets=False, skip_validation=True)
        run = Run.open(self.run_options.root, name, text, self.run_options.resume)
        last = run.last_checkpoint
        say(f"run     {run.path}" + (f", going on from {last.name}" if last else ""))
        run.note(preset=self.preset, max_steps=config.trainer.max_steps)
        if self.announcement:
            run.note(announcement=self.announcement)
        return run

    # ---- the trainer -----------------------------------------------------------------------------

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Build the trainer with the run's loggers and whole checkpoint files."""
        config = self.config[str(self.subcommand)]
        if config.trainer.logger is None:
            config.trainer.logger = True
        trainer: pl.Trainer = super().instantiate_trainer(
            logger=self._loggers(), plugins=[WholeCheckpointIO()], use_distributed_sampler=False, **kwargs
        )
        return trainer

    def _loggers(self) -> list[Logger]:
        loggers: list[Logger] = [RunLogger(self.run_folder)]
        mode = self.run_options.wandb_mode()
        if mode == "disabled":
            return loggers
        try:
            from pytorch_lightning.loggers import WandbLogger

            facts = self.run_folder.facts
            if mode == "offline":
                os.environ.setdefault("WANDB_SILENT", "true")  # the lines here say what there is to say
                say(f"wandb   offline in {self.run_folder.path / 'wandb'}; `wandb sync` sends it")
            loggers.append(
                WandbLogger(
                    name=self.run_folder.path.name,
                    project=self.run_options.project,
                    save_dir=str(self.run_folder.path),
                    id=os.environ.get("WANDB_RUN_ID") or facts.get("wandb_id"),
                    resume="allow",
                    offline=mode == "offline",
                )
            )
        except ModuleNotFoundError as error:
            say(f"W&B is left out: {error}. `pip install wandb` brings it; the run's page needs nothing.")
        return loggers

    def before_fit(self) -> None:
        """Write down what runs, and say it."""
        if not self.trainer.is_global_zero:
            return
        data, model = self.datamodule, self.model
        data.setup("fit")
        if self.config[str(self.subcommand)].ckpt_path is not None:
            step = int(read_raw(Path(self.config[str(self.subcommand)].ckpt_path))["global_step"])
            self.run_folder.rewind(step)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        facts = data.facts() | {"announcement": self.announcement}
        device = str(self.trainer.strategy.root_device)
        self.run_folder.note(
            data=facts,
            parameters=parameters,
            device=device,
            model=model.net.config.to_dict(),
            kind=model.net.kind,
        )
        say(f"model   {parameters / 1e6:.2f} million parameters on {device}, {self.trainer.max_steps} steps")
        if isinstance(model, DrawingTask) and self.trainer.strategy.root_device.type == "cuda":
            accumulate = self.trainer.accumulate_grad_batches
            why = why_not_captured(model, self.trainer.strategy.root_device, accumulate)
            say(f"step    launched kernel by kernel: {why}" if why else "step    captured as CUDA graphs")
        say(f"watch   {self.run_folder.path / 'index.html'}")
        for logger in self.trainer.loggers:
            if type(logger).__name__ == "WandbLogger":
                whole = yaml.safe_load(self.run_folder.config or "") | {
                    "preset": self.preset,
                    "data_facts": facts,
                }
                logger.experiment.config.update(whole, allow_val_change=True)  # type: ignore[attr-defined]

    def _run_subcommand(self, subcommand: str) -> None:
        """Train; where Ctrl-C stops it, say how to go on."""
        try:
            super()._run_subcommand(subcommand)
        except SystemExit:
            if not self.trainer.interrupted:
                raise
            last = self.run_folder.last_checkpoint
            goes_on = f"goes on from {last.name}" if last else "starts again: there was no checkpoint yet"
            say(f"stopped at step {self.trainer.global_step}; the same command {goes_on}")
            raise SystemExit(130) from None
        finally:
            self.run_folder.release()

    def after_fit(self) -> None:
        """Keep the last step, and mark the run as finished."""
        step = self.trainer.global_step
        final = self.run_folder.checkpoints / f"step-{step}.ckpt"
        if not final.exists():
            self.trainer.save_checkpoint(final)
        if not self.trainer.is_global_zero:
            return
        path = self.run_folder.path
        self.run_folder.note(finished=True, steps=step)
        write_run_page(path)
        if isinstance(self.model, DrawingTask):
            more = f"shows what it draws; `sketchembed draw IMAGE {path}` draws more"
        else:
            more = "shows its curves"
        say(f"done    {path / 'index.html'} {more}")


def has_fast_bfloat16(accelerator: str) -> bool:
    """Return whether products of bfloat16 are done in hardware where the training will run."""
    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def say(line: str) -> None:
    """Print a line at once, on the first process."""
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        print(line, flush=True)


def fit(args: list[str]) -> None:
    """Run ``sketchembed fit`` with the arguments after the word.

    ``--preset NAME`` stands for the configuration files of a preset; those given with ``--config`` and single
    options come after it and overrule it.
    """
    args = list(args)
    name = "custom"
    chosen: list[str] = []
    for at, argument in enumerate(args):
        if argument == "--preset" or argument.startswith("--preset="):
            wanted = argument.partition("=")[2] if "=" in argument else (args[at + 1 : at + 2] or [""])[0]
            name, chosen, why = expand_preset(wanted)
            del args[at : at + (1 if "=" in argument else 2)]
            say(f"preset  {name} ({why})")
            say('        PRESET=paper chooses another, ARGS="--trainer.max_steps 1000" changes an option')
            break
    with quiet_lightning():
        FitCLI(["fit", *chosen, *args], name)
