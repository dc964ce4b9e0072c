"""LightningDataModules, one file per data set."""

from sketchembed.data.datamodules.doodles_datamodule import DoodlesDataModule
from sketchembed.data.datamodules.labelled_datamodule import LabelledQuickdrawDataModule
from sketchembed.data.datamodules.mini_imagenet_datamodule import (
    MiniImageNetDataModule,
    MiniImageNetEpisodeDataModule,
)
from sketchembed.data.datamodules.omniglot_datamodule import OmniglotDataModule, OmniglotEpisodeDataModule
from sketchembed.data.datamodules.quickdraw_datamodule import QuickdrawDataModule
from sketchembed.data.datamodules.sketchy_datamodule import SketchyDataModule, TracedDataModule

__all__ = [
    "DoodlesDataModule",
    "LabelledQuickdrawDataModule",
    "MiniImageNetDataModule",
    "MiniImageNetEpisodeDataModule",
    "OmniglotDataModule",
    "OmniglotEpisodeDataModule",
    "QuickdrawDataModule",
    "SketchyDataModule",
    "TracedDataModule",
]
