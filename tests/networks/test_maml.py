import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from sketchembed.networks.maml import MAML, MAMLConfig, SupportNormConv4, support_norm

TINY = MAMLConfig(width=4, image_size=16, inner_steps=3, inner_lr=0.3)


def network(config=TINY, seed=0):
    torch.manual_seed(seed)
    return MAML(config).double()


def task(way=3, shot=2, queries=5, seed=1):
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(way * shot + queries, 1, 16, 16, generator=random, dtype=torch.float64)
    return images[: way * shot], torch.arange(way).repeat_interleave(shot), images[way * shot :]


class OrdinaryNetwork(nn.Module):
    """The same network as an ordinary module. All rows of its head start with the same vector."""

    def __init__(self, net, way):
        super().__init__()
        self.encoder = copy.deepcopy(net.encoder)
        self.head = nn.Linear(net.encoder.features, way, bias=False).double()
        self.start = torch.randn(net.encoder.features, dtype=torch.float64)
        with torch.no_grad():
            self.head.weight.copy_(self.start.expand(way, -1))

    def forward(self, images, known):
        return self.head(self.encoder(images, known))


@pytest.mark.parametrize("pool", ["mean", "flatten"])
def test_adaptation_equals_gradient_descent_on_a_copy(pool):
    net = network(MAMLConfig(width=4, image_size=16, pool=pool, inner_steps=3, inner_lr=0.3))
    support, labels, query = task()
    ordinary_network = OrdinaryNetwork(net, 3)
    optimizer = torch.optim.SGD(ordinary_network.parameters(), 0.3)
    for _ in range(3):
        optimizer.zero_grad()
        functional.cross_entropy(ordinary_network(support, len(support)), labels).backward()
        optimizer.step()
    found = net.adapt(support, labels, 3)
    torch.testing.assert_close(found["head"] + ordinary_network.start, ordinary_network.head.weight)
    assert not torch.allclose(found["head"][0], found["head"][1])
    for name, value in ordinary_network.encoder.named_parameters():
        torch.testing.assert_close(found[f"encoder.{name}"], value)
    expected = ordinary_network(torch.cat([support, query]), len(support))[len(support) :]
    probabilities = net.scores(found, support, query).softmax(-1)
    torch.testing.assert_close(probabilities, expected.softmax(-1))


def test_outer_gradient_equals_finite_differences():
    net = network()
    support, labels, query = task()
    query_labels = torch.tensor([0, 1, 2, 0, 1])

    def loss(first_order=False):
        found = net.adapt(support, labels, 3, first_order=first_order)
        return functional.cross_entropy(net.scores(found, support, query), query_labels)

    gradients = torch.autograd.grad(loss(), list(net.parameters()))
    approximations = torch.autograd.grad(loss(first_order=True), list(net.parameters()))
    random, differs = torch.Generator().manual_seed(2), []
    for parameter, gradient, approximation in zip(net.parameters(), gradients, approximations, strict=True):
        direction = torch.randn(parameter.shape, generator=random, dtype=torch.float64)
        losses = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                parameter += step * direction
            losses.append(float(loss().detach()))
            with torch.no_grad():
                parameter -= step * direction
        slope = (losses[0] - losses[1]) / 2e-6
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-3, abs=1e-7)
        differs.append(float((approximation * direction).sum()) != pytest.approx(slope, rel=1e-2, abs=1e-7))
    # The last two are the scale and shift of the last batch norm.
    assert all(differs[-2:])


def test_permuting_the_labels_permutes_the_scores():
    net = network()
    support, labels, query = task()
    order = torch.tensor([2, 0, 1])
    scores = net.scores(net.adapt(support, labels, 3), support, query)
    renamed = net.scores(net.adapt(support, order[labels], 3), support, query)
    torch.testing.assert_close(renamed[:, order], scores)


def test_network_accepts_any_number_of_classes():
    net = network()
    for way in (2, 7):
        support, labels, query = task(way=way)
        assert net.scores(net.adapt(support, labels, way, steps=1), support, query).shape == (5, way)


def test_scores_of_a_query_do_not_depend_on_other_queries():
    net = network()
    support, labels, query = task()
    found = net.adapt(support, labels, 3)
    together = net.scores(found, support, query)
    alone = torch.cat([net.scores(found, support, query[at : at + 1]) for at in range(5)])
    torch.testing.assert_close(together, alone)


def test_support_norm_equals_batch_norm_with_support_statistics():
    torch.manual_seed(0)
    ordinary = nn.BatchNorm2d(3, momentum=1.0).double()
    nn.init.normal_(ordinary.weight)
    maps = torch.randn(6, 3, 4, 4, dtype=torch.float64)
    expected = ordinary(maps[:4])
    torch.testing.assert_close(support_norm(ordinary, maps[:4], 4), expected)
    ordinary.eval()
    # PyTorch stores the unbiased variance, but normalises a batch by the biased one.
    ordinary.running_var *= (4 * 16 - 1) / (4 * 16)
    torch.testing.assert_close(support_norm(ordinary, maps, 4), ordinary(maps))


def test_encoder_keeps_no_running_averages():
    assert not list(SupportNormConv4(1, 4, "mean", 28).buffers())
