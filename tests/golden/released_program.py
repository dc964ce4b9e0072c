"""Numbers of the authors' released program at small sizes, and this project's network with its weights.

``released.npz`` holds numbers only; its drawings are invented. Names of fields: ``w:`` weights, ``in:``
inputs, ``grad:`` gradients. Fields without a prefix were computed in float64, those with ``float32:`` and the
moving averages in float32, by TensorFlow 2.1.0 as the program pins it.
"""

from pathlib import Path

import numpy as np
import torch

from sketchembed.networks.sketchembednet import ModelConfig, SketchEmbedNet

FIELDS = dict(np.load(Path(__file__).with_name("released.npz"), allow_pickle=False))
CONFIG = ModelConfig(
    width=8, copies=3, latent=6, hidden=16, hyper=8, embedding=4, mixtures=3, max_length=8,
    input_range=255, gate_biases=2,
)  # fmt: skip
GATES = "ijfo"
# The program calls the maps of the input term hidden_*, and those of the recurrent term input_*.
INPUT_MAPS = [f"cell/hidden_{gate}h" for gate in GATES]
RECURRENT_MAPS = [f"cell/input_{gate}x" for gate in GATES]
CELL = "decoder.cell."
STROKE_AND_Z, STROKE = 11, 5


def from_program(fields):
    """Return tensors by this project's names, from arrays by the program's names."""
    get = {name: torch.tensor(value).double() for name, value in fields.items()}
    out = {}
    for number in range(1, 5):
        # A block has convolution, batch norm, ReLU and pooling.
        for ours, theirs in zip(_block(number), _program_block(number), strict=True):
            if theirs in get:
                out[ours] = get[theirs].permute(3, 2, 0, 1) if theirs.endswith("kernel") else get[theirs]
    for ours, theirs in (("mean", "mu"), ("logvar", "logvar"), ("decoder.state_from_z", "init_state")):
        out[f"{ours}.weight"] = get[f"enc/{theirs}/kernel"].T
        out[f"{ours}.bias"] = get[f"enc/{theirs}/bias"]
    out["decoder.head.weight"], out["decoder.head.bias"] = get["dec/out/kernel"].T, get["dec/out/bias"]
    kernel = get["cell/hyper/w_xh"].T
    out[CELL + "hyper_input.weight"] = kernel[:, :STROKE_AND_Z]
    out[CELL + "hyper_from_main.weight"] = kernel[:, STROKE_AND_Z:]
    out[CELL + "hyper_recurrent.weight"] = get["cell/hyper/w_hh"].T
    out[CELL + "hyper_norm.weight"] = get["cell/hyper/ln_gamma"][None]
    out[CELL + "hyper_norm.bias"] = get["cell/hyper/ln_beta"][None]
    out[CELL + "main_input.weight"], out[CELL + "main_recurrent.weight"] = (
        get["cell/w_xh"].T,
        get["cell/w_hh"].T,
    )
    out[CELL + "main_bias"] = get["cell/bias"]
    out[CELL + "add_bias"] = torch.cat([get[f"{name}/beta_bias"] for name in INPUT_MAPS])
    maps = [*INPUT_MAPS, *RECURRENT_MAPS]
    small = [get[f"{name}/zw_kernel"].T for name in maps] + [get[f"{name}/zb"].T for name in INPUT_MAPS]
    out[CELL + "embed.weight"] = torch.cat(small)
    out[CELL + "embed_bias"] = torch.cat([get[f"{name}/zw_bias"] for name in maps])
    expand = [get[f"{name}/alpha"] for name in maps] + [get[f"{name}/beta_kernel"] for name in INPUT_MAPS]
    out[CELL + "expand"] = torch.stack(expand)
    for ours, theirs in (("main_norm", "ln"), ("cell_norm", "ln2")):
        out[f"{CELL}{ours}.weight"] = get[f"cell/{theirs}_gamma"]
        out[f"{CELL}{ours}.bias"] = get[f"cell/{theirs}_beta"]
    return out


def _block(number):
    convolution, norm = f"encoder.blocks.{4 * number - 4}", f"encoder.blocks.{4 * number - 3}"
    yield from (f"{convolution}.weight", f"{convolution}.bias", f"{norm}.weight", f"{norm}.bias")
    yield from (f"{norm}.running_mean", f"{norm}.running_var")


def _program_block(number):
    yield from (f"enc/conv{number}/kernel", f"enc/conv{number}/bias")
    yield from (f"enc/bn{number}/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance"))


def with_prefix(prefix):
    """Return the fields with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in FIELDS.items() if name.startswith(prefix)}


def network():
    """Return the network with the program's weights, in float64 and in training mode."""
    net = SketchEmbedNet(CONFIG).double()
    missing, unexpected = net.load_state_dict(from_program(with_prefix("w:")), strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    for parameter in net.parameters():
        parameter.requires_grad_(True)  # also the frozen biases before batch norm
    return net.train()


def inputs():
    """Return images in [0, 1], stroke-5 rows, and ε of z and of the pixel loss' sample, in float64."""
    images = torch.tensor(FIELDS["in:image255"]).permute(0, 3, 1, 2)[:, :1].double() / 255
    rest = (torch.tensor(FIELDS[name]).double() for name in ("in:stroke5", "in:noise_z", "in:noise_xy"))
    return images, *rest
