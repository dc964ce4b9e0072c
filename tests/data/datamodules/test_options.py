"""Options of data modules: a configuration can set all parameters of a class and of its base classes."""

import inspect
import subprocess
import sys

import pytest
import pytorch_lightning as pl
import yaml
from jsonargparse import ArgumentParser

import sketchembed.data
from sketchembed.cli import main

DRAWINGS = {"folder", "batch_size", "max_length", "num_workers", "seed", "validation_drawings"}
QUICKDRAW = DRAWINGS | {"per_class", "form", "epsilon"}
EPISODES = {"folder", "way", "shot", "query", "image_size", "validation_way", "validation_episodes", "seed"}
OPTIONS = {
    "DoodlesDataModule": DRAWINGS | {"per_class"},
    "LabelledQuickdrawDataModule": QUICKDRAW | {"which"},
    "MiniImageNetDataModule": {"folder", "batch_size", "image_size", "seed", "validation_images"},
    "MiniImageNetEpisodeDataModule": EPISODES,
    "OmniglotDataModule": DRAWINGS | {"per_class", "rotations", "scale_of"},
    "OmniglotEpisodeDataModule": EPISODES | {"source"},
    "QuickdrawDataModule": QUICKDRAW | {"split", "classes", "fallback"},
    "SketchyDataModule": DRAWINGS | {"image_size", "overlap", "resampling"},
    "TracedDataModule": DRAWINGS | {"image_size", "photos", "max_points"},
}
DEFAULTS = {
    "QuickdrawDataModule": {
        "batch_size": 256,
        "max_length": 64,
        "validation_drawings": 512,
        "split": "paper",
    },
    "LabelledQuickdrawDataModule": {"validation_drawings": 5000, "per_class": None, "which": "seen"},
    "SketchyDataModule": {"batch_size": 64, "max_length": 100, "image_size": 84, "overlap": "class"},
    "OmniglotEpisodeDataModule": {"way": 60, "shot": 1, "query": 5, "image_size": 28, "validation_way": 20},
    "MiniImageNetEpisodeDataModule": {
        "way": 30,
        "shot": 1,
        "query": 15,
        "validation_way": 5,
        "image_size": 84,
    },
}


def parser() -> ArgumentParser:
    made = ArgumentParser(exit_on_error=False)
    made.add_subclass_arguments(pl.LightningDataModule, "data")
    return made


@pytest.mark.parametrize("name", OPTIONS)
def test_all_options_can_be_configured(name):
    assert issubclass(getattr(sketchembed.data, name), pl.LightningDataModule)
    found = parser().parse_args(["--data", name]).data
    assert found.class_path == f"sketchembed.data.{name}"
    assert set(found.init_args.keys()) == OPTIONS[name]
    for option, default in DEFAULTS.get(name, {}).items():
        assert found.init_args[option] == default


def test_options_reach_base_classes_and_unknown_options_raise():
    config = parser().parse_args(
        [
            "--data",
            "SketchyDataModule",
            "--data.batch_size",
            "8",
            "--data.overlap",
            "none",
            "--data.seed",
            "3",
        ]
    )
    module = parser().instantiate(config).data
    assert (module.batch_size, module.max_length, module.overlap, module.seed) == (8, 100, "none", 3)
    with pytest.raises(Exception, match="way"):
        parser().parse_args(["--data", "SketchyDataModule", "--data.way", "3"])


def test_print_config_includes_options_of_base_classes(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--model", "DrawingTask", "--data", "QuickdrawDataModule", "--print_config"])
    data = yaml.safe_load(capsys.readouterr().out)["data"]
    assert data["class_path"] == "sketchembed.data.QuickdrawDataModule"
    assert set(data["init_args"]) == OPTIONS["QuickdrawDataModule"] - {"seed"}  # linked to --seed_everything


def test_every_data_module_is_exported():
    from sketchembed.data import datamodules

    exported = {name for name, value in vars(datamodules).items() if inspect.isclass(value)}
    assert exported == set(datamodules.__all__) == set(OPTIONS)


def test_package_imports_lightning_only_on_first_use():
    program = (
        "import sys, sketchembed.data, sketchembed.data.sampling, sketchembed.data.image_set\n"
        "assert 'pytorch_lightning' not in sys.modules\n"
        "sketchembed.data.QuickdrawDataModule\n"
        "assert 'pytorch_lightning' in sys.modules\n"
        "assert not hasattr(sketchembed.data, 'NoDataModule')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
