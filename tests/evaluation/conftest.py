"""Fixtures: an evaluation context with small untrained networks and doodles as drawings."""

from __future__ import annotations

import pytest
import torch

from sketchembed.data.doodles import generate
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.pictures import Pictures
from sketchembed.hub.model_files import save
from sketchembed.networks import ModelConfig, SketchEmbedNet
from sketchembed.networks.conv_vae import ConvVAE, ConvVAEConfig


@pytest.fixture(scope="session")
def doodle_pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doodles")
    # Each class has one drawing in the validation set and one in the test set.
    store = generate.prepare(folder / "doodles", per_class=28, max_length=64)
    return Pictures(store, store.class_names[:-4], store.class_names[-4:])


@pytest.fixture(scope="session")
def small_networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(5)  # a seed whose drawings do not end at the first step
    config = ModelConfig(width=8, latent=12, hidden=10, hyper=6, embedding=2, mixtures=3, max_length=12)
    net = SketchEmbedNet(config, offset_scale=20.0)
    drawer = save(net, folder / "drawer.safetensors")
    return drawer, save(ConvVAE(ConvVAEConfig(width=8, latent=6)), folder / "vae.safetensors")


@pytest.fixture
def small_context(small_networks, doodle_pictures, tmp_path):
    drawer, vae = small_networks
    context = EvaluationContext(str(drawer), str(vae), out=tmp_path / "out", wandb="disabled")
    context.pictures = doodle_pictures
    return context
