"""Compare this project with the authors' released program, field by field; see released_program.py."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional

from golden.released_program import CONFIG, FIELDS, from_program, inputs, network, with_prefix
from sketchembed.data.sources.omniglot import simplify
from sketchembed.evaluation.fewshot import heads
from sketchembed.losses import PixelLoss, pen_loss, stroke_loss
from sketchembed.raster import rasterize
from sketchembed.raster.blur import GaussianBlur
from sketchembed.raster.cairo_pen import draw_cairo_pen
from sketchembed.sketch import Sketch
from sketchembed.training.drawing import DrawingTask
from sketchembed.training.keras_adam import KerasAdam

CONF = yaml.safe_load((Path(__file__).parents[2] / "conf" / "released.yaml").read_text())
OPTIONS = CONF["model"]["init_args"]
ALPHAS = ("0", "0.05", "0.1", "0.25", "0.5")
PEN = ("prepare/stroke3_a", "prepare/stroke3_b", "dot/stroke3")
GIVEN = (
    *("w:", "in:", "prepare/stroke3_a", "prepare/stroke3_b", "dot/stroke3", "omniglot/points"),
    *("omniglot/stroke_of_point", "adam/gradients", "adam/lr_steps", "fewshot/features"),
)
SINGLE = {"as_released": {}, "per_drawing": {"boxes": "own"}}
TOLERANCE = 1e-6  # relative to the largest value of a field
FLOAT32 = 1e-4
IN_FLOAT32 = (
    "float32:",
    "after_train:",
    "adam/parameter_after",
    "adam/lr",
    "fewshot/normalised",
    "prepare/scale",
)
"""Fields that the program computed in float32."""
BEFORE_BATCH_NORM = [f"encoder.blocks.{4 * number}.bias" for number in range(4)]
"""Biases that batch norm subtracts, so their gradients are rounding errors."""


def task(mode="as_released"):
    """The task with the options of conf/released.yaml and the program's weights."""
    loss = PixelLoss(**OPTIONS["pixel_loss"] | SINGLE[mode])
    names = ("adam", "density_constant", "renderer")
    made = DrawingTask(CONFIG, pixel_loss=loss, **{name: OPTIONS[name] for name in names}).double()
    made.net = network()
    return made


def sample(mode, dtype=torch.float64):
    """Return all that the program computes of a batch, by field, without its prefix."""
    images, stroke5, noise, drawn = (value.to(dtype) for value in inputs())
    made = task(mode).to(dtype)
    made.noises = lambda *_: (noise, drawn[None])
    out = {}
    for alpha in ALPHAS:
        made.alpha = float(alpha)
        made.zero_grad()
        loss, _ = made.losses(images, stroke5, torch.Generator(), with_pixels=True)
        loss.total.backward()
        out |= {f"{mode}/{alpha}/{name}": value for name, value in loss._asdict().items()}
        for name, parameter in made.net.named_parameters():
            out[f"{mode}/{alpha}/{name}"] = parameter.grad.clone()
    return out


def encoder():
    images, _, noise, _ = inputs()
    out = {}
    net = network()
    for mode in ("eval", "train"):
        latent = net.train(mode == "train").encode(images)
        z = latent.sample(noise)
        state = torch.cat(list(net.decoder.initial_state(z)), dim=-1)
        parts = {"mu": latent.mean, "logvar": latent.logvar, "z": z, "state": state}
        out |= {f"enc_{mode}/{name}": value for name, value in parts.items()}
    state = net.state_dict()
    for number in range(1, 5):
        norm = f"encoder.blocks.{4 * number - 3}"
        for ours, theirs in (("running_mean", "moving_mean"), ("running_var", "moving_variance")):
            out[f"after_train:enc/bn{number}/{theirs}"] = state[f"{norm}.{ours}"]
    return out


def decoder():
    images, stroke5, noise, _ = inputs()
    net = network()
    z = net.encode(images).sample(noise)
    step = net.decoder.cell(torch.cat([stroke5[:, 0], z], dim=-1), net.decoder.initial_state(z))
    out = {"cell_step/h": step.h, "cell_step/state": torch.cat(list(step), dim=-1)}
    logits, mixture = net.decoder(stroke5[:, :-1], z)[0]
    target = stroke5[:, 1:]
    sigma, mean = mixture.log_std.exp(), mixture.mean
    out |= {
        "dec/pi": mixture.logits.softmax(-1), "dec/mu1": mean[..., 0], "dec/mu2": mean[..., 1],
        "dec/sigma1": sigma[..., 0], "dec/sigma2": sigma[..., 1], "dec/rho": mixture.correlation.tanh(),
        "dec/pen": logits.softmax(-1), "dec/pen_logits": logits,
    }  # fmt: skip
    constant = OPTIONS["density_constant"]
    pen, stroke = np.zeros((2, 2, 8))
    for row, at in np.ndindex(2, 8):
        here = (slice(row, row + 1), slice(at, at + 1))
        pen[row, at] = numbers(pen_loss(logits[here], target[here][..., 2:]))
        one = type(mixture)(*(part[here] for part in mixture))
        stroke[row, at] = numbers(stroke_loss(one, target[here][..., :2], target[here][..., 4], constant))
    return out | {"loss/pen_each": pen, "loss/stroke_each": stroke}


def pictures(mode):
    """Return the images of the pixel loss; its names end in ``_single`` if each drawing has its own box."""
    images, stroke5, noise, drawn = inputs()
    end = "" if mode == "as_released" else "_single"
    loss = task(mode).pixel_loss
    points = rasterize.absolute_points(stroke5)
    canvas = rasterize.Canvas.fit(points, stroke5[..., 4] < 0.5, 28, 3, mixed=loss.boxes == "mixed")
    truth = loss.ink(canvas.place(points), rasterize.pen_down(stroke5), 28)
    logits, mixture = network()(images, stroke5, noise)[0]
    offset = mixture.sample(component="argmax", noise=drawn)
    predicted = torch.cat([stroke5[:, :1], torch.cat([offset, logits.softmax(-1)], dim=-1)], dim=1)
    placed = canvas.place(rasterize.absolute_points(predicted))
    image = loss.ink(placed, loss._predicted_pen(logits, stroke5), 28)
    blur = GaussianBlur().double()
    each = [loss.cross_entropy(blur(image[[row]]), blur(truth[[row]])) for row in range(2)]
    out = {
        "gt_scaled": _scaled(canvas.place(points), stroke5), "gt": truth, "gt_blur": blur(truth),
        "pred_scaled": _scaled(placed, predicted), "pred_strokes": predicted, "pred": image,
        "pred_blur": blur(image),
    }  # fmt: skip
    return {f"raster/{name}{end}": value for name, value in out.items()} | {
        f"loss/pixel_each{end}": torch.stack(each)
    }


def _scaled(placed, rows):
    """Return the rows with offsets in pixels; the first is the position of the first point."""
    offsets = torch.diff(placed, dim=1, prepend=torch.zeros_like(placed[:, :1]))
    return torch.cat([offsets, rows[..., 2:]], dim=-1)


def preparation():
    sketches = [Sketch.from_stroke3(FIELDS[name]) for name in PEN]
    offsets = np.concatenate([sketch.to_stroke3()[:, :2] for sketch in sketches[:2]])
    scale = offsets.astype(np.float64).std()
    rows = torch.tensor(np.stack([sketch.scaled(1 / scale).to_stroke5(8) for sketch in sketches])).double()
    # The outlines are drawn from the first point on, which the start token replaces only for the decoder.
    drawn = 255 * (1 - draw_cairo_pen(rows))
    placed = rasterize.Canvas.fit(rasterize.absolute_points(rows[2:]), rows[2:, :, 4] < 0.5, 28, 3).place(
        rasterize.absolute_points(rows[2:])
    )
    dot = PixelLoss(**OPTIONS["pixel_loss"]).ink(placed, rasterize.pen_down(rows[2:]), 28)
    points, strokes = FIELDS["omniglot/points"], FIELDS["omniglot/stroke_of_point"]
    character = simplify(Sketch.from_strokes(points[strokes == number] for number in np.unique(strokes)))
    image = 255 * (1 - draw_cairo_pen(torch.tensor(character.to_stroke5(64))[None]).double())
    return {
        "prepare/scale": scale, "prepare/image255": drawn, "dot/stroke5": rows[2],
        "dot/target_raster": dot[0], "omniglot/stroke3": character.to_stroke3(),
        "omniglot/image255": image[0],
    }  # fmt: skip


def optimisation():
    made = task()
    parameter = torch.nn.Parameter(torch.zeros(60, dtype=torch.float64))
    optimizer = KerasAdam([parameter])
    after = []
    for step, gradient in enumerate(FIELDS["adam/gradients"]):
        optimizer.param_groups[0]["lr"] = made.learning_rate(step)
        parameter.grad = torch.tensor(gradient).double()
        optimizer.step()
        after.append(parameter.detach().clone())
    rates = [made.learning_rate(int(step)) for step in FIELDS["adam/lr_steps"]]
    return {"adam/parameter_after": torch.stack(after), "adam/lr": np.array(rates)}


def fewshot():
    features = functional.normalize(torch.tensor(FIELDS["fewshot/features"]), dim=-1)
    out = {"fewshot/normalised": features}
    features = torch.tensor(FIELDS["fewshot/normalised"]).double()
    labels = torch.arange(5).repeat_interleave(2)
    found = {"prediction": [], "decision": [], "weight": [], "intercept": []}
    for episode in features:
        support, query = episode[:, :2].reshape(10, 16), episode[:, 2:].reshape(30, 16)
        products = heads.Products(
            (support @ support.T)[None],
            lambda weight, known=support, asked=query: (asked @ known.T)[None] @ weight,
            lambda known=support: known[None],
        )
        weight, intercept = heads.released_classifier(support, labels)
        found["prediction"].append(heads.logistic_released(products, labels, 5)[0])
        found["weight"].append(weight.T @ support)
        found["intercept"].append(intercept)
        found["decision"].append(query @ support.T @ weight + intercept)
    return out | {f"fewshot/{name}": torch.stack(values) for name, values in found.items()}


@cache
def computed():
    """Return every field that this project computes; gradients have this project's names."""
    out = encoder() | decoder() | pictures("as_released") | pictures("per_drawing") | preparation()
    out |= sample("as_released") | sample("per_drawing") | optimisation() | fewshot()
    out["kernel"] = torch.outer(*[GaussianBlur().kernel.double()] * 2)
    low = sample("as_released", torch.float32) | sample("per_drawing", torch.float32)
    low |= {
        name: out[name]
        for name in ("enc_eval/mu", "enc_train/mu", "dec/pen_logits", "dec/mu1", "cell_step/h")
    }
    return out | {f"float32:{name}": value for name, value in low.items()}


def numbers(value):
    return np.asarray(value.detach() if torch.is_tensor(value) else value, dtype=np.float64)


PLAIN = [name for name in FIELDS if not name.startswith(GIVEN) and "/grad:" not in name]
GRADIENTS = sorted({name.partition("grad:")[0] for name in FIELDS if "/grad:" in name})


@pytest.mark.parametrize("field", PLAIN)
def test_field_equals_the_released_program(field):
    found, expected = numbers(computed()[field]), numbers(FIELDS[field])
    assert found.shape == expected.shape
    tolerance = FLOAT32 if field.startswith(IN_FLOAT32) else TOLERANCE
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("run", GRADIENTS)
def test_gradients_equal_the_released_program(run):
    fields = with_prefix(f"{run}grad:")
    theirs = from_program(fields)
    assert sum(map(np.size, fields.values())) == sum(map(torch.numel, theirs.values()))
    for name, expected in theirs.items():
        gap, largest = (float(value.abs().max()) for value in (computed()[run + name] - expected, expected))
        if name in BEFORE_BATCH_NORM:
            assert max(gap, largest) < 1e-12
        else:
            assert gap <= TOLERANCE * largest, name


def test_every_field_is_given_or_compared():
    gradients = [name for name in FIELDS if name.startswith(tuple(f"{run}grad:" for run in GRADIENTS))]
    given = [name for name in FIELDS if name.startswith(GIVEN)]
    assert sorted([*PLAIN, *gradients, *given]) == sorted(FIELDS)
