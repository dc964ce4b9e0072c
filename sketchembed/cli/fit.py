"""`sketchembed fit`: LightningCLI with presets, the data found first, and a run folder that resumes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from jsonargparse import Namespace
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, instantiate_class
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import SIGTERMException

from sketchembed._version import __version__
from sketchembed.cli.config_files import trust_no_configuration
from sketchembed.cli.parser import OneLineErrorParser
from sketchembed.data.datamodules.drawing_datamodule import DrawingDataModule
from sketchembed.data.datamodules.quickdraw_datamodule import DoodlesDataModule
from sketchembed.data.sampling import check_share
from sketchembed.errors import ConfigError, NonFiniteError, SketchEmbedError, check_range
from sketchembed.files.connection import NetworkError
from sketchembed.hub.model_files import find, read_raw
from sketchembed.reporting.run_page import write_run_page
from sketchembed.reporting.runs_page import update_runs_page
from sketchembed.runs import slurm
from sketchembed.runs.checkpoints import AtomicCheckpointIO, newest_valid
from sketchembed.runs.folder import Run, RunOptions
from sketchembed.runs.process import allow_tf32, has_fast_bfloat16, quiet_lightning, tune_process
from sketchembed.runs.ranks import Ranks
from sketchembed.runs.run_logger import RunLogger
from sketchembed.runs.wandb_logger import Tracker
from sketchembed.runs.watchdog import await_cause, exit_with_parent, kill_ranks, stop_watching
from sketchembed.training.checkpointing import Checkpoints, Milestones, Stopped
from sketchembed.training.cuda_graphs import why_not_captured
from sketchembed.training.curriculum import Curriculum
from sketchembed.training.drawing import DrawingTask
from sketchembed.training.finite import Finite, RollBack
from sketchembed.training.gallery import Gallery
from sketchembed.training.presets import expand_preset
from sketchembed.training.progress import Monitor

MOST_SEED = 2**32 - 1
"""As NumPy has it."""
DOODLES = "sketchembed.data.datamodules.quickdraw_datamodule.DoodlesDataModule"
COMMON_DATA_OPTIONS = ("folder", "batch_size", "max_length", "num_workers", "seed", "validation_drawings")


class FitParser(OneLineErrorParser, LightningArgumentParser):
    """Lightning's parser, which answers a mistake in one line."""


class FitCLI(LightningCLI):
    """LightningCLI with the project's own groups: ``curriculum``, ``finite``, ``checkpoint``, ``run``, ….

    Args:
        args: the command line, beginning with the subcommand.
        preset: name of the preset among them, for the run's name.
    """

    def __init__(self, args: list[str], preset: str = "custom") -> None:
        trust_no_configuration()
        self.preset = preset
        self.ranks = Ranks()
        self.announcement: str | None = None
        super().__init__(
            pl.LightningModule,
            pl.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            save_config_callback=None,
            parser_class=FitParser,
            seed_everything_default=0,
            parser_kwargs={
                "prog": "sketchembed",
                "fit": {"description": "Train a model.", "version": __version__},
            },
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
        parser.add_lightning_class_args(Milestones, "milestones")
        parser.add_lightning_class_args(Finite, "finite")
        parser.add_lightning_class_args(Checkpoints, "checkpoint")
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
        seed = self.config.get(f"{self.config.subcommand}.seed_everything")
        if seed is not None and not isinstance(seed, bool):
            check_range("--seed_everything", seed, 0, MOST_SEED)

    def _parse_ckpt_path(self) -> None:
        """Check the checkpoint that a user names, before minutes are spent.

        Lightning's own would take hyperparameters from it, over those of the command line.
        """
        config = self.config[self.config.subcommand]
        if config.get("ckpt_path") is not None:
            read_raw(find(config.ckpt_path))

    # ---- before anything is built ----------------------------------------------------------------

    def before_instantiate_classes(self) -> None:
        """Start the processes, find the data and open the run's folder."""
        config = self.config[str(self.subcommand)]
        tune_process()
        allow_tf32()
        self.run_options: RunOptions = RunOptions(**config.run.as_dict())
        self.ranks = launch(config.trainer)
        for name, value in self.ranks.on_rank_zero(lambda: self._decide(config)).items():
            config[name] = value
        if not self.ranks.is_rank_zero:
            self.run_folder = Run(Path(config.checkpoint.dirpath).parent)

    def _decide(self, config: Namespace) -> dict[str, Any]:
        """Find out, on the first process, what all of them go by; return the options that this changes."""
        if config.trainer.precision == "bf16-mixed" and not has_fast_bfloat16(config.trainer.accelerator):
            say("note    this processor has no 16-bit products; training in 32-true instead of bf16-mixed")
            config.trainer.precision = "32-true"
        processes = self.ranks.world_size
        check_share(config.data.init_args.get("batch_size") or processes, processes)
        self._find_data(config)
        network = config.model.init_args.get("network")
        if isinstance(network, Namespace) and "max_length" in network:
            # T is the data's. A link of the parser's does not reach into a dataclass.
            network.max_length = config.data.init_args.max_length
        self.run_folder = self._open_run(config)
        config.checkpoint.dirpath = str(self.run_folder.checkpoints)
        changed = "trainer.precision", "data", "model", "checkpoint.dirpath"
        return {name: config.get(name) for name in changed}

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
        say(f"run     {run.path}")
        run.note(preset=self.preset, max_steps=config.trainer.max_steps, failed=None)
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
            logger=self._loggers(),
            plugins=[AtomicCheckpointIO(), *([slurm.environment()] if slurm.started() else [])],
            use_distributed_sampler=False,
            **kwargs,
        )
        if self.ranks.started:
            # Where it is interrupted, the trainer ends what it believes its own launcher to have started.
            trainer.strategy.launcher.procs = self.ranks.started  # type: ignore[union-attr]
        return trainer

    def _loggers(self) -> list[Logger]:
        loggers: list[Logger] = [RunLogger(self.run_folder)]
        mode = self.run_options.wandb_mode()
        if mode == "disabled":
            return loggers
        try:
            loggers.append(
                Tracker(
                    mode,
                    self.run_folder.path,
                    say,
                    name=self.run_folder.path.name,
                    project=self.run_options.project,
                    id=os.environ.get("WANDB_RUN_ID") or self.run_folder.facts.get("wandb_id"),
                )
            )
        except ModuleNotFoundError as error:
            say(f"W&B is left out: {error}. `pip install wandb` brings it; the run's page needs nothing.")
        return loggers

    def before_fit(self) -> None:
        """Write down what runs, and say it."""
        step = self._choose_checkpoint()
        if not self.trainer.is_global_zero:
            return
        data, model = self.datamodule, self.model
        data.setup("fit")
        if self.run_folder.last_checkpoint is not None:
            self.run_folder.check_data(data.facts())
        self.run_folder.rewind(step)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        facts = data.facts() | {"announcement": self.announcement}
        device = str(self.trainer.strategy.root_device)
        self.run_folder.note(
            data=facts,
            parameters=parameters,
            device=device,
            processes=self.trainer.world_size,
            model=model.net.config.to_dict(),
            kind=model.net.kind,
        )
        say(f"model   {parameters / 1e6:.2f} million parameters on {device}, {self.trainer.max_steps} steps")
        if isinstance(model, DrawingTask) and self.trainer.strategy.root_device.type == "cuda":
            accumulate = self.trainer.accumulate_grad_batches
            why = why_not_captured(
                model, self.trainer.strategy.root_device, accumulate, self.trainer.world_size
            )
            say(f"step    launched kernel by kernel: {why}" if why else "step    captured as CUDA graphs")
        say(f"watch   {self.run_folder.path / 'index.html'}")
        whole = yaml.safe_load(self.run_folder.config or "") | {"preset": self.preset, "data_facts": facts}
        for logger in self.trainer.loggers:
            logger.log_hyperparams(whole)

    def _choose_checkpoint(self) -> int:
        """Have the trainer go on from the run's newest whole checkpoint, else from one that the user named.

        Returns:
            the number of steps that are done already.
        """
        folder, net = self.run_folder.checkpoints, self.model.net
        chosen = self.ranks.on_rank_zero(
            lambda: newest_valid(folder, net, lambda line: say(f"warning {line}"))
        )
        if chosen is not None:
            say(f"resume  going on from {chosen.name}")
        else:
            named = self.config[str(self.subcommand)].get("ckpt_path")
            chosen = None if named is None else find(named)
        if chosen is None:
            return 0
        # Lightning keeps what it saved under a module's hyperparameters apart; ours has none.
        options = self.config_init[str(self.subcommand)]
        options.ckpt_path, options.weights_only = str(chosen), True
        return int(read_raw(chosen)["global_step"])

    def _run_subcommand(self, subcommand: str) -> None:
        """Train; where something stops it, say how to go on."""
        try:
            self._train(subcommand)
        except SystemExit as error:
            if not self.trainer.interrupted:
                raise
            stop_watching()
            last = self.run_folder.last_checkpoint
            goes_on = f"goes on from {last.name}" if last else "starts again: there was no checkpoint yet"
            if isinstance(error, Stopped):
                number = error.signal
            else:  # before the first step, or by a second Ctrl-C
                number = signal.SIGTERM if isinstance(error, SIGTERMException) else signal.SIGINT
            if self.trainer.is_global_zero:
                write_run_page(self.run_folder.path)
            say(f"stopped by {number.name} at step {self.trainer.global_step}; the same command {goes_on}")
            raise SystemExit(128 + number) from None
        except Exception as error:
            await_cause(error)
            kill_ranks(self.ranks.started)
            if self.trainer.is_global_zero:
                self.run_folder.note(failed=f"{type(error).__name__}: {str(error)[:300]}")
            elif isinstance(error, ConfigError | NonFiniteError):
                sys.exit(error.status)  # the first process finds the same, and says it for all
            raise
        finally:
            self.run_folder.release()
            if self.trainer.is_global_zero:
                update_runs_page(self.run_folder.path)

    def _train(self, subcommand: str) -> None:
        """Train, and again from a checkpoint whenever :class:`Finite` goes back to one."""
        while True:
            try:
                return super()._run_subcommand(subcommand)
            except RollBack:
                continue

    def after_fit(self) -> None:
        """Mark the run as finished."""
        step = self.trainer.global_step
        final = self.run_folder.checkpoints / f"step-{step}.ckpt"
        if not self.ranks.broadcast(final.exists()):  # there was nothing left to train after --ckpt_path
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


def say(line: str) -> None:
    """Print a line at once, on the first process."""
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        print(line, flush=True)


def launch(trainer: Namespace) -> Ranks:
    """Start or meet the processes that train together.

    Args:
        trainer: options, of which the number of processes is taken from `torchrun` if they leave it open, and
            always from SLURM, which has started them all.
    """
    here, everywhere = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    if TorchElasticEnvironment.detect() and trainer.devices == "auto":
        trainer.devices, trainer.num_nodes = here, everywhere // here
    elif slurm.started():
        trainer.devices, trainer.num_nodes = slurm.processes()
    fabric = Fabric(accelerator=trainer.accelerator, devices=trainer.devices, num_nodes=trainer.num_nodes)
    return Ranks.of(fabric)


def run(args: list[str]) -> None:
    """Run ``sketchembed fit`` with the arguments after the word.

    ``--preset NAME`` stands for the configuration files of a preset, the last one if there are several; those
    given with ``--config`` and single options come after it and overrule it.
    """
    exit_with_parent()
    args, wanted = _without_preset(args)
    name, chosen = "custom", list[str]()
    if wanted is not None:
        name, chosen, why = expand_preset(wanted)
        say(f"preset  {name} ({why})")
        say('        PRESET=paper chooses another, ARGS="--trainer.max_steps 1000" changes an option')
    with quiet_lightning():
        FitCLI(["fit", *chosen, *args], name)


def _without_preset(args: list[str]) -> tuple[list[str], str | None]:
    """Return a command line without its presets, and the last of these."""
    rest, wanted, words = list[str](), None, iter(args)
    for word in words:
        if word == "--preset":
            wanted = next(words, "")
        elif word.startswith("--preset="):
            wanted = word.partition("=")[2]
        else:
            rest.append(word)
    return rest, wanted
