import json

import numpy as np
import pytest
import torch
from test_fewshot import image_set
from torch import nn
from torch.nn import functional

from sketchembed.cli import main
from sketchembed.data.episodes import Episodes
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sources import omniglot_images
from sketchembed.evaluation.fewshot import finetuning
from sketchembed.evaluation.fewshot.finetuning import FromScratchMethod, MAMLMethod
from sketchembed.evaluation.fewshot.scores import measure
from sketchembed.hub.registry import MODEL_KEY, describe
from sketchembed.networks.conv4 import Conv4
from sketchembed.networks.maml import MAML, MAMLConfig
from sketchembed.runs.ranks import Ranks

WIDTH = 8


def methods():
    torch.manual_seed(0)
    return [
        MAMLMethod("maml", MAML(MAMLConfig(width=WIDTH, inner_steps=2, test_steps=3))),
        FromScratchMethod(steps=3, width=WIDTH),
    ]


@pytest.fixture
def data():
    return image_set()


@pytest.mark.parametrize("number", [0, 1], ids=["maml", "scratch"])
def test_predictions_do_not_depend_on_blocks_or_order(data, number):
    method, again = methods()[number], methods()[number]
    episodes = Episodes(data, way=3, shot=2)
    method.prepare(data, Ranks())
    again.prepare(data, Ranks())
    torch.manual_seed(1)
    together = method.predict(episodes.batch(range(4)), 3, 2)
    state = torch.get_rng_state()
    for at in (2, 0, 3, 1):
        alone = again.predict(episodes.batch([at]), 3, 2)
        torch.testing.assert_close(alone[0], together[at], rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("number", [0, 1], ids=["maml", "scratch"])
def test_many_queries_are_predicted_in_parts(data, number, monkeypatch):
    method = methods()[number]
    method.prepare(data, Ranks())
    batch = Episodes(data, way=12, shot=1).batch([0])  # 72 queries
    whole = method.predict(batch, 12, 1)
    monkeypatch.setattr(finetuning, "GPU_NUMBERS", 1)  # parts of 64 and 8
    torch.testing.assert_close(method.predict(batch, 12, 1), whole, rtol=0, atol=0)


def test_maml_predictions_match_the_adapted_network(data):
    method, _ = methods()
    method.prepare(data, Ranks())
    batch = Episodes(data, way=3, shot=2).batch([5])
    support, query = (data.batch(rows[0]) for rows in (batch.support, batch.query))
    found = method.network.adapt(support, torch.tensor([0, 0, 1, 1, 2, 2]), 3, steps=3)
    expected = method.network.scores(found, support, query).argmax(-1)
    torch.testing.assert_close(method.predict(batch, 3, 2)[0], expected)


def test_scratch_matches_a_conv4_trained_on_the_support(data):
    _, method = methods()
    method.prepare(data, Ranks())
    batch = Episodes(data, way=3, shot=2).batch([5])
    support, query = (data.batch(rows[0]) for rows in (batch.support, batch.query))
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    seed = np.random.SeedSequence([0, *batch.support[0].tolist()]).generate_state(1, np.uint64)[0]
    torch.manual_seed(int(seed) >> 1)
    network = nn.Sequential(Conv4(1, WIDTH), nn.Linear(WIDTH, 3))
    optimizer = torch.optim.Adam(network.parameters(), method.lr)
    for _ in range(3):
        optimizer.zero_grad()
        functional.cross_entropy(network(support), labels).backward()
        optimizer.step()
    # After one more pass, the running averages come from the support only.
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    network(support)
    for norm, places in zip(norms, (28, 14, 7, 3), strict=True):
        count = 6 * places**2
        norm.running_var *= (count - 1) / count
    expected = network.eval()(query).argmax(-1)
    torch.testing.assert_close(method.predict(batch, 3, 2)[0], expected)


def test_scratch_weights_depend_on_episode_and_seed(data):
    method = FromScratchMethod(steps=0, width=WIDTH)
    method.prepare(data, Ranks())
    support, query = data.batch(slice(0, 3)), data.batch(slice(3, 6))
    labels, rows = torch.arange(3), np.arange(3)
    first = method.fit(support, labels, 3, rows)(query)
    torch.testing.assert_close(method.fit(support, labels, 3, rows)(query), first)
    assert not torch.allclose(method.fit(support, labels, 3, rows + 1)(query), first)
    method.seed = 1
    assert not torch.allclose(method.fit(support, labels, 3, rows)(query), first)


def test_scratch_learns_an_easy_problem():
    random = np.random.default_rng(0)
    stripes = np.zeros((3, 28, 28))
    stripes[0, ::2], stripes[1, :, ::2], stripes[2, ::4] = 200, 200, 200
    images = stripes[:, None] + random.uniform(0, 55, (3, 12, 28, 28))
    data = ImageSet(
        images.astype(np.uint8).reshape(-1, 1, 28, 28),
        np.repeat(np.arange(3), 12),
        ["across", "down", "wide"],
        [f"{at % 12}" for at in range(36)],
    )
    method = FromScratchMethod(steps=20, lr=3e-3, width=WIDTH)
    method.prepare(data, Ranks())
    (score,) = measure([method], Episodes(data, way=3, shot=4), 4)
    assert score.mean > 90


def test_missing_queries_get_no_prediction(data):
    _, method = methods()
    method.prepare(data, Ranks())
    batch = Episodes(data, way=3, shot=2).batch([0, 1])
    fewer = batch.query.copy()
    fewer[1, 10:] = -1
    found = method.predict(batch._replace(query=fewer), 3, 2)
    assert (found[1, 10:] == -1).all()
    torch.testing.assert_close(found[1, :10], method.predict(batch, 3, 2)[1, :10])


def test_command_evaluates_a_trained_network(data, tmp_path, monkeypatch):
    monkeypatch.setattr(omniglot_images, "load_omniglot", lambda *_: data)
    monkeypatch.setattr(omniglot_images, "select_part", lambda images, *_: images)
    net = methods()[0].network
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    torch.save({"state_dict": state, MODEL_KEY: describe(net)}, tmp_path / "step-1.ckpt")
    options = {"settings": "5w1s", "episodes": "3", "baselines": "none", "accelerator": "cpu"}
    given = [part for name, value in options.items() for part in (f"--{name}", value)]
    paths = ["--checkpoint", str(tmp_path / "step-1.ckpt"), "--out", str(tmp_path / "report")]
    main(["evaluate", "fewshot", *given, *paths])
    (row,) = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert row["method"] == "MAML, supervised (step-1)"
    assert row["about"]["steps"] == 3
    method, _ = methods()
    method.prepare(data, Ranks())
    (score,) = measure([method], Episodes(data, way=5, shot=1), 3)
    assert row["scores"][0]["mean"] == pytest.approx(score.mean, abs=1e-4)
