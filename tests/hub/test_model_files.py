import io
import os
import pickle

import numpy as np
import pytest
import torch

import sketchembed
from sketchembed.errors import CheckpointError
from sketchembed.hub import model_files, registry
from sketchembed.networks import ModelConfig, SketchEmbedNet
from sketchembed.networks.conv_vae import ConvVAE, ConvVAEConfig
from sketchembed.networks.maml import MAML, MAMLConfig
from sketchembed.networks.protonet import ProtoNet, ProtoNetConfig
from sketchembed.networks.resnet import ResNet, ResNetConfig
from sketchembed.networks.simclr import SimCLR, SimCLRConfig
from sketchembed.runs import checkpoints

SMALL = ModelConfig(width=4, latent=6, hidden=10, hyper=6, embedding=2, mixtures=3, max_length=12)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return SketchEmbedNet(SMALL, offset_scale=31.5).eval()


def write_checkpoint(net, path):
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    torch.save({"state_dict": state, registry.MODEL_KEY: registry.describe(net), "global_step": 7}, path)
    return path


def test_weights_file_alone_rebuilds_the_model(net, tmp_path):
    images = torch.rand(3, 1, 28, 28)
    path = sketchembed.save(net, tmp_path / "net.safetensors")
    again = sketchembed.load(path)
    assert again.config == SMALL
    assert again.offset_scale == 31.5
    torch.testing.assert_close(again.embed(images), net.embed(images), rtol=0, atol=0)
    assert again.draw(images, seed=1) == net.draw(images, seed=1)


@pytest.mark.parametrize(
    "other",
    [
        ProtoNet(ProtoNetConfig(width=4)),
        ConvVAE(ConvVAEConfig(width=4, latent=6, variant="released")),
        SimCLR(SimCLRConfig(width=8)),
        ResNet(ResNetConfig(18, classes=3, width=4, labels=["cat", "bee", "hat"])),
    ],
    ids=lambda net: net.kind,
)
def test_networks_of_another_kind_embed_but_cannot_draw(other, tmp_path):
    path = write_checkpoint(other.eval(), tmp_path / "other.ckpt")
    images = torch.rand(3, 1, other.config.image_size, other.config.image_size)
    again = model_files.load_network(path)
    assert again.config == other.config
    torch.testing.assert_close(again.embed(images), other.embed(images), rtol=0, atol=0)
    with pytest.raises(CheckpointError, match=f"is a {other.kind}, which cannot draw"):
        sketchembed.load(path)


def test_network_without_an_embedding_gives_a_clear_error():
    with pytest.raises(CheckpointError, match="is a maml, which does not embed images; expected a network"):
        MAML(MAMLConfig(width=4)).embed(torch.rand(1, 1, 28, 28))


def test_weights_file_has_default_permissions(net, tmp_path):
    beside = tmp_path / "beside"
    beside.touch()
    assert sketchembed.save(net, tmp_path / "net.safetensors").stat().st_mode == beside.stat().st_mode


def test_user_run_takes_precedence_over_a_packaged_model(net, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert model_files.find("photos-resnet12").parent == model_files.PACKAGED
    (tmp_path / "photos-resnet12" / "checkpoints").mkdir(parents=True)
    write_checkpoint(net, tmp_path / "photos-resnet12" / "checkpoints" / "step-7.ckpt")
    assert model_files.find("photos-resnet12").name == "step-7.ckpt"


def test_half_precision_halves_the_file(net, tmp_path):
    whole = sketchembed.save(net, tmp_path / "a.safetensors").stat().st_size
    half = sketchembed.save(net, tmp_path / "b.safetensors", torch.float16)
    assert half.stat().st_size < 0.7 * whole
    images = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(sketchembed.load(half).embed(images), net.embed(images), rtol=0.02, atol=0.02)


def test_checkpoint_and_run_folder_load(net, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    path = write_checkpoint(net, tmp_path / "checkpoints" / "step-7.ckpt")
    images = torch.rand(2, 1, 28, 28)
    for place in (path, tmp_path):
        torch.testing.assert_close(sketchembed.load(place).embed(images), net.embed(images), rtol=0, atol=0)


def test_loading_a_checkpoint_executes_no_code(tmp_path):
    mark = tmp_path / "executed"

    class Payload:
        def __reduce__(self):
            return open, (str(mark), "w")

    path = tmp_path / "bad.ckpt"
    path.write_bytes(pickle.dumps({"state_dict": Payload()}))
    with pytest.raises(CheckpointError, match="cannot be read"):
        sketchembed.load(path)
    torch.save({"state_dict": Payload()}, path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        sketchembed.load(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "content", [b"", b"<html>no</html>", b"version https://git-lfs.github.com/spec/v1\n", b"PK\x03\x04"]
)
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_damaged_files_give_a_one_line_error(content, suffix, tmp_path):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read|not a SketchEmbedNet") as caught:
        sketchembed.load(path)
    assert "\n" not in str(caught.value)


def test_truncated_checkpoint_raises(net, tmp_path):
    path = write_checkpoint(net, tmp_path / "x.ckpt")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(CheckpointError, match="cannot be read"):
        sketchembed.load(path)


def test_mismatched_weights_error_names_the_tensor(net, tmp_path):
    other = SketchEmbedNet(ModelConfig(**(SMALL.to_dict() | {"hidden": 12})))
    with pytest.raises(CheckpointError, match=r"has '\S+' of shape \[.*\], not \["):
        registry.check_weights(other, net.state_dict(), tmp_path / "x.ckpt")
    state = dict(net.state_dict())
    state["extra"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match="'extra', which the model lacks"):
        registry.check_weights(net, state, tmp_path / "x.ckpt")


def test_unknown_settings_raise(net, tmp_path, monkeypatch):
    described = registry.describe(net)
    described["config"]["wings"] = 2
    monkeypatch.setattr(model_files, "describe", lambda _: described)
    path = model_files.save(net, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="unknown settings: ModelConfig has no 'wings'"):
        model_files.load(path)


def test_missing_checkpoint_error_suggests_a_fix(tmp_path):
    with pytest.raises(CheckpointError, match="there is no checkpoint at .*Train a model first"):
        sketchembed.load(tmp_path / "nowhere")


def test_full_disk_keeps_the_previous_checkpoint(tmp_path, monkeypatch):
    io = checkpoints.AtomicCheckpointIO()
    path = tmp_path / "last.ckpt"
    io.save_checkpoint({"a": torch.ones(3)}, path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        io.save_checkpoint({"a": torch.zeros(3)}, path)
    assert torch.load(path, weights_only=True)["a"].sum() == 3
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def write_training_checkpoint(net, path):
    """Write a checkpoint with every part that resuming requires; most parts are empty."""
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    parts = {name: {} for name in checkpoints.TRAINING_PARTS}
    torch.save(parts | {"state_dict": state, "global_step": model_files.step_of(path)}, path)


def flip_weights(content):
    """Change bytes of the weights, and leave the zip file around them intact."""
    weights = torch.load(io.BytesIO(content), weights_only=True)["state_dict"]["net.mean.weight"]
    at = content.index(weights.numpy().tobytes())
    return content[:at] + bytes(255 - byte for byte in content[at : at + 8]) + content[at + 8 :]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda content: content[:-500], "cannot be read"),
        (lambda content: b"", "cannot be read"),
        (lambda content: bytes(len(content)), "cannot be read"),
        (lambda content: bytes(range(256)) * 99, "cannot be read"),
        (flip_weights, "differs from its checksum"),
    ],
    ids=["truncated", "empty", "zeros", "garbage", "flipped"],
)
def test_damaged_newest_checkpoint_is_skipped_with_a_warning(net, damage, says, tmp_path):
    for step in (2, 4, 10):
        write_training_checkpoint(net, tmp_path / f"step-{step}.ckpt")
    newest = tmp_path / "step-10.ckpt"
    newest.write_bytes(damage(newest.read_bytes()))
    warnings = []
    assert checkpoints.newest_valid(tmp_path, net, warnings.append).name == "step-4.ckpt"
    assert len(warnings) == 1
    assert str(newest) in warnings[0]
    assert says in warnings[0]
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["step-10.ckpt.damaged", "step-2.ckpt", "step-4.ckpt"]


def test_incompatible_checkpoints_are_skipped(net, tmp_path):
    write_training_checkpoint(
        SketchEmbedNet(ModelConfig(**(SMALL.to_dict() | {"hidden": 12}))), tmp_path / "step-2.ckpt"
    )
    write_checkpoint(net, tmp_path / "step-3.ckpt")
    warnings = []
    assert checkpoints.newest_valid(tmp_path, net, warnings.append) is None
    assert "has no 'optimizer_states'" in warnings[0]
    assert "of shape" in warnings[1]


def test_last_checkpoint_is_chosen_by_step_not_by_time(tmp_path):
    for step in (2000, 10_000, 500):  # a copied run may have been written in this order
        (tmp_path / f"step-{step}.ckpt").touch()
    assert model_files.find(tmp_path).name == "step-10000.ckpt"


@pytest.mark.parametrize("name", ["photos-resnet12", "photos-traced-resnet12"])
def test_packaged_weights_draw_photos(name):
    net = sketchembed.load(name)
    assert (net.config.channels, net.config.image_size, net.config.max_length) == (3, 84, 100)
    # A light disc and a light bar on a dark background: the model draws their outlines, which differ.
    y, x = torch.meshgrid(torch.arange(84), torch.arange(84), indexing="ij")
    disc = (x - 42) ** 2 + (y - 42) ** 2 < 28**2
    bar = ((x - 42).abs() < 8) & ((y - 42).abs() < 34)
    photos = torch.stack([disc, bar]).float().mul(0.8).add(0.1).unsqueeze(1).expand(-1, 3, -1, -1)
    round_one, long_one = (np.ptp(sketch.points, axis=0) for sketch in net.draw(photos))
    assert 0.6 < round_one[1] / round_one[0] < 1.6
    assert long_one[1] / long_one[0] > 1.8
