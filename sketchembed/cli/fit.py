"""`sketchembed fit`: LightningCLI with presets, prepared data, and a run folder from which a run resumes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from jsonargparse import Namespace
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, instantiate_class
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import SIGTERMException

from sketchembed._version import __version__
from sketchembed.cli.config_files import trust_no_configuration
from sketchembed.cli.fit_options import HELP_ALL, expand_short_options, preset_arguments, split_preset
from sketchembed.cli.parser import OneLineErrorParser
from sketchembed.data.datamodules import DoodlesDataModule
from sketchembed.data.datamodules.drawing_datamodule import DrawingDataModule
from sketchembed.data.sampling import check_batch_size
from sketchembed.errors import ConfigError, NonFiniteError, SketchEmbedError, check_range
from sketchembed.files.http import NetworkError
from sketchembed.files.progress_bar import print_line
from sketchembed.files.writing import check_output
from sketchembed.hub.model_files import find, read_raw
from sketchembed.raster.native import why_not_native
from sketchembed.reporting.run_page import write_run_page
from sketchembed.reporting.runs_page import update_runs_page
from sketchembed.runs import slurm
from sketchembed.runs.checkpoints import AtomicCheckpointIO, newest_valid
from sketchembed.runs.folder import Run, RunOptions
from sketchembed.runs.process import allow_tf32, has_fast_bfloat16, quiet_lightning, tune_process
from sketchembed.runs.ranks import Ranks, make_fabric
from sketchembed.runs.renamed import update_arguments
from sketchembed.runs.run_logger import RunLogger
from sketchembed.runs.wandb_logger import Tracker
from sketchembed.runs.watchdog import await_cause, exit_with_parent, kill_ranks, stop_watching
from sketchembed.training import DrawingTask
from sketchembed.training.checkpointing import Checkpoints, Milestones, Stopped
from sketchembed.training.cuda_graphs import why_not_captured
from sketchembed.training.curriculum import Curriculum
from sketchembed.training.finite import Finite
from sketchembed.training.gallery import Gallery
from sketchembed.training.progress import Monitor, RunPage

MAX_SEED = 2**32 - 1  # the largest that NumPy accepts
DOODLES = "sketchembed.data.DoodlesDataModule"
COMMON_DATA_OPTIONS = ("folder", "batch_size", "max_length", "num_workers", "seed", "validation_drawings")


class FitParser(OneLineErrorParser, LightningArgumentParser):
    """Lightning's parser with one-line error messages."""

    help_option = HELP_ALL


class FitCLI(LightningCLI):
    """LightningCLI with this project's option groups, such as ``curriculum``, ``finite`` and ``run``."""

    def __init__(self, args: list[str], preset: str = "custom") -> None:
        trust_no_configuration()
        self.preset = preset
        self.ranks = Ranks()
        self.announcement: str | None = None
        about = {"description": "Train a model.", "version": __version__}
        super().__init__(
            pl.LightningModule,
            pl.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            save_config_callback=None,
            parser_class=FitParser,
            seed_everything_default=0,
            parser_kwargs={"prog": "sketchembed", "fit": about},
            args=args,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return the only subcommand, ``fit``."""
        return {"fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule"}}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the option groups of this project."""
        for callback in (Curriculum, Gallery, Monitor, Milestones, Finite):
            parser.add_lightning_class_args(callback, callback.__name__.lower())
        parser.add_lightning_class_args(Checkpoints, "checkpoint")
        parser.add_class_arguments(RunOptions, "run")
        parser.link_arguments("seed_everything", "model.init_args.seed")
        parser.link_arguments("seed_everything", "data.init_args.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the command line and its configuration files; raise a ConfigError for every other error."""
        try:
            super().parse_arguments(parser, args)
        except SketchEmbedError:
            raise
        except Exception as error:  # jsonargparse raises exceptions of many types for malformed values
            what = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise ConfigError(
                f"the configuration cannot be read ({what})",
                expected=f"options as `sketchembed fit {HELP_ALL}` lists them",
                fix="Correct the file that --config names, or the option",
            ) from error
        seed = self.config.get(f"{self.config.subcommand}.seed_everything")
        if seed is not None and not isinstance(seed, bool):
            check_range("--seed_everything", seed, 0, MAX_SEED)

    def _parse_ckpt_path(self) -> None:
        """Check ``--ckpt_path`` early; Lightning's method would let its hyperparameters override options."""
        config = self.config[self.config.subcommand]
        if config.get("ckpt_path") is not None:
            read_raw(find(config.ckpt_path))

    # ---- before the model is built ---------------------------------------------------------------

    def before_instantiate_classes(self) -> None:
        """Start the ranks, prepare the data and open the run's folder."""
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
        """Complete the configuration on rank 0; return the changed options for the other ranks."""
        check_output(Path(self.run_options.root))
        if config.trainer.precision == "bf16-mixed" and not has_fast_bfloat16(config.trainer.accelerator):
            say("note    this processor has no bfloat16 instructions; training in 32-true, not bf16-mixed")
            config.trainer.precision = "32-true"
        check_range("trainer.log_every_n_steps", config.trainer.log_every_n_steps or 0, 1)
        world_size = self.ranks.world_size
        check_batch_size(config.data.init_args.get("batch_size") or world_size, world_size)
        self._prepare_data(config)
        network = config.model.init_args.get("network")
        if isinstance(network, Namespace) and "max_length" in network:
            # T is an option of the data. jsonargparse cannot link it to a field of a dataclass.
            network.max_length = config.data.init_args.max_length
        self.run_folder = self._open_run(config)
        config.checkpoint.dirpath = str(self.run_folder.checkpoints)
        changed = "trainer.precision", "data", "model", "checkpoint.dirpath"
        return {name: config.get(name) for name in changed}

    def _prepare_data(self, config: Namespace) -> None:
        """Prepare the data; use doodles if there are none and they cannot be downloaded."""
        module = instantiate_class((), config.data.as_dict())
        if not isinstance(module, DrawingDataModule):
            return
        try:
            store = module.prepare_store()
        except NetworkError as error:
            if not getattr(module, "fallback", False):
                raise
            self.announcement = (
                f"NOT QUICK, DRAW!: there are no drawings in {module.folder}, and none can be "
                f"downloaded ({error}). This run uses generated doodles instead."
            )
            given = config.data.init_args
            kept = {key: given[key] for key in COMMON_DATA_OPTIONS if key in given}
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
        """Build the trainer with the run's loggers, those of ``--trainer.logger``, and its page."""
        config = self.config[str(self.subcommand)]
        if config.trainer.logger is None:
            config.trainer.logger = True
        given = self._get(self.config_init, "trainer.logger")
        more = [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, Logger)]
        trainer: pl.Trainer = super().instantiate_trainer(
            logger=[*self._loggers(), *more],
            plugins=[AtomicCheckpointIO(), *([slurm.environment()] if slurm.started() else [])],
            use_distributed_sampler=False,
            **kwargs,
        )
        # Not an option of the trainer, which the run's config.yaml would list.
        trainer.callbacks.insert(0, RunPage())  # type: ignore[attr-defined]
        if self.ranks.started:
            # On an interrupt the trainer kills the ranks that its own launcher has started.
            trainer.strategy.launcher.procs = self.ranks.started  # type: ignore[union-attr]
        return trainer

    def _loggers(self) -> list[Logger]:
        loggers: list[Logger] = [RunLogger(self.run_folder)]
        mode = self.run_options.wandb_mode()
        if mode == "disabled":
            return loggers
        try:
            path, project = self.run_folder.path, self.run_options.project
            known = os.environ.get("WANDB_RUN_ID") or self.run_folder.facts.get("wandb_id")
            loggers.append(Tracker(mode, path, say, name=path.name, project=project, id=known))
        except ModuleNotFoundError as error:
            say(f"W&B is not used: {error}. Install it with `pip install wandb`, or use the run's page")
        return loggers

    def before_fit(self) -> None:
        """Choose the checkpoint, and record and print what is trained."""
        step = self._choose_checkpoint()
        if not self.trainer.is_global_zero:
            return
        data, model, run = self.datamodule, self.model, self.run_folder
        data.setup("fit")
        facts = data.facts() | {"announcement": self.announcement}
        if run.last_checkpoint is not None:
            run.check_data(data.facts())
        run.rewind(step)
        trainer = self.trainer
        parameters = sum(parameter.numel() for parameter in model.parameters())
        device = trainer.strategy.root_device
        run.note(
            data=facts,
            parameters=parameters,
            device=str(device),
            processes=trainer.world_size,
            model=model.net.config.to_dict(),
            kind=model.net.kind,
        )
        say(f"model   {parameters / 1e6:.2f} million parameters on {device}, {trainer.max_steps} steps")
        if isinstance(model, DrawingTask) and device.type == "cuda":
            why = why_not_captured(model, device, trainer.accumulate_grad_batches, trainer.world_size)
            say(f"step    not captured as CUDA graphs: {why}" if why else "step    captured as CUDA graphs")
        if device.type == "cpu" and (why := why_not_native()):
            say(f"step    slower than with functions compiled for this processor: {why}")
        say(f"watch   {run.path / 'index.html'}")
        whole = yaml.safe_load(run.config or "") | {"preset": self.preset, "data_facts": facts}
        for logger in trainer.loggers:
            logger.log_hyperparams(whole)
            if isinstance(logger, Tracker):
                logger.use_data(facts)

    def _choose_checkpoint(self) -> int:
        """Resume from the run's newest valid checkpoint, or ``--ckpt_path``; return its number of steps."""
        folder, net = self.run_folder.checkpoints, self.model.net
        chosen = self.ranks.on_rank_zero(lambda: newest_valid(folder, net, _warn))
        if chosen is not None:
            say(f"resume  from {chosen.name}")
        else:
            named = self.config[str(self.subcommand)].get("ckpt_path")
            chosen = None if named is None else find(named)
        if chosen is None:
            return 0
        # `config_init` has what the trainer gets. Checkpoints are plain values and load under weights_only.
        options = self.config_init[str(self.subcommand)]
        options.ckpt_path, options.weights_only = str(chosen), True
        return int(read_raw(chosen)["global_step"])

    def _run_subcommand(self, subcommand: str) -> None:
        """Train; if a signal stops the run, print how to resume it."""
        try:
            super()._run_subcommand(subcommand)
        except SystemExit as error:
            if not self.trainer.interrupted:
                raise
            raise SystemExit(128 + self._report_stop(error)) from None
        except Exception as error:
            await_cause(error)
            kill_ranks(self.ranks.started)
            if self.trainer.is_global_zero:
                self.run_folder.note(failed=f"{type(error).__name__}: {str(error)[:300]}")
            elif isinstance(error, ConfigError | NonFiniteError):
                sys.exit(error.status)  # rank 0 has the same error and prints it
            raise
        finally:
            self.run_folder.release()
            if self.trainer.is_global_zero:
                update_runs_page(self.run_folder.path)

    def _report_stop(self, error: SystemExit) -> int:
        """Print where a run was stopped; return the number of the signal."""
        stop_watching()
        last = self.run_folder.last_checkpoint
        resumes = f"resumes from {last.name}" if last else "starts again: there is no checkpoint yet"
        if isinstance(error, Stopped):
            number = error.signal
        else:  # before the first step, or by a second Ctrl-C
            number = signal.SIGTERM if isinstance(error, SIGTERMException) else signal.SIGINT
        if self.trainer.is_global_zero:
            write_run_page(self.run_folder.path)
        say(f"stopped by {number.name} at step {self.trainer.global_step}; the same command {resumes}")
        return number

    def after_fit(self) -> None:
        """Mark the run as finished."""
        step = self.trainer.global_step
        final = self.run_folder.checkpoints / f"step-{step}.ckpt"
        if not self.ranks.broadcast(final.exists()):  # --ckpt_path had all steps already
            self.trainer.save_checkpoint(final)
        if not self.trainer.is_global_zero:
            return
        path = self.run_folder.path
        self.run_folder.note(finished=True, steps=step)
        write_run_page(path)
        if isinstance(self.model, DrawingTask):
            more = f"shows sampled drawings; draw more with `sketchembed draw IMAGE {path}`"
        else:
            more = "shows the loss curves"
        say(f"done    {path / 'index.html'} {more}")


def say(line: str, to_error: bool = False) -> None:
    """Print a line at once, on rank 0 only, to the output or to the error stream."""
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        print_line(line, sys.stderr if to_error else sys.stdout)


def _warn(line: str) -> None:
    say(f"warning {line}")


def launch(trainer: Namespace) -> Ranks:
    """Start the ranks of a training, or connect to those that `torchrun` or SLURM has started.

    SLURM's number of ranks overrides that of the trainer; `torchrun`'s only if ``devices`` is ``auto``.
    """
    here, everywhere = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    if TorchElasticEnvironment.detect() and trainer.devices == "auto":
        trainer.devices, trainer.num_nodes = here, everywhere // here
    elif slurm.started():
        trainer.devices, trainer.num_nodes = slurm.processes()
    return Ranks.of(
        make_fabric(accelerator=trainer.accelerator, devices=trainer.devices, num_nodes=trainer.num_nodes)
    )


def run(args: list[str]) -> None:
    """Run ``sketchembed fit``; ``--preset NAME`` inserts configuration files before all other arguments."""
    exit_with_parent()
    preset, args = split_preset(expand_short_options(args))
    args, notes = update_arguments(args)
    name, chosen, lines = ("custom", [], []) if preset is None else preset_arguments(preset)
    only_config = any(word.startswith("--print_config") for word in args)
    for line in [*(f"note    {note}" for note in notes), *lines]:
        say(line, to_error=only_config)
    with quiet_lightning():
        FitCLI(["fit", *chosen, *args], name)
