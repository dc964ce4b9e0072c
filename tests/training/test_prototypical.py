import numpy as np
import torch
from sklearn.neighbors import NearestCentroid

from sketchembed.data.datamodules.episode_datamodule import EpisodeImages, EpisodeStream
from sketchembed.data.episodes import Episodes
from sketchembed.data.image_set import ImageSet
from sketchembed.networks.protonet import ProtoNetConfig, prototype_logits, prototype_loss
from sketchembed.training import PrototypicalTask


def features(way=5, shot=3, queries=4):
    random = torch.Generator().manual_seed(0)
    return torch.randn(way, shot, 6, generator=random), torch.randn(way, queries, 6, generator=random)


def test_nearest_prototype_equals_sklearn_nearest_centroid():
    support, query = features()
    theirs = NearestCentroid().fit(support.flatten(0, 1).numpy(), np.repeat(np.arange(5), 3))
    rows = query.flatten(0, 1)
    np.testing.assert_array_equal(
        prototype_logits(support, rows).argmax(-1).numpy(), theirs.predict(rows.numpy())
    )


def test_loss_is_cross_entropy_over_squared_distances():
    support, query = features()
    loss, accuracy = prototype_loss(support, query)
    terms, right = [], []
    for label in range(5):
        for row in query[label].double().numpy():
            distances = ((support.double().mean(1).numpy() - row) ** 2).sum(1)
            terms.append(distances[label] + np.log(np.exp(-distances).sum()))
            right.append(distances.argmin() == label)
    np.testing.assert_allclose(float(loss), np.mean(terms), rtol=1e-5)
    np.testing.assert_allclose(float(accuracy), np.mean(right), rtol=1e-6)


def test_stream_gives_each_process_its_own_episodes():
    labels = np.repeat(np.arange(6), 5)
    images = np.arange(30, dtype=np.uint8).reshape(30, 1, 1, 1) * np.ones((1, 1, 8, 8), dtype=np.uint8)
    data = ImageSet(images, labels, [f"{at}" for at in range(6)], [f"{at % 5}" for at in range(30)])
    episodes = Episodes(data, way=3, shot=1, query=2)
    alone = list(EpisodeStream(episodes, count=6))
    assert isinstance(alone[0], EpisodeImages)
    assert alone[0].query.shape == (3, 2, 1, 8, 8)
    # Each class has five consecutive images.
    numbers = [(part[..., 0, 0, 0] * 255).round().long() // 5 for part in alone[3]]
    assert (numbers[0] == numbers[1]).all()
    for rank in (0, 1):
        shared = list(EpisodeStream(episodes, first=rank, step=2, count=3))
        for mine, expected in zip(shared, alone[rank::2], strict=True):
            torch.testing.assert_close(mine.query, expected.query, rtol=0, atol=0)


def test_training_halves_the_loss_of_an_episode():
    torch.manual_seed(0)
    task = PrototypicalTask(ProtoNetConfig(width=8))
    shapes = torch.rand(4, 1, 1, 28, 28)
    batch = EpisodeImages(
        shapes + 0.3 * torch.rand(4, 2, 1, 28, 28), shapes + 0.3 * torch.rand(4, 3, 1, 28, 28)
    )
    optimizer = torch.optim.Adam(task.parameters(), 3e-3)
    first = float(task.episode(batch)[0].detach())
    for _ in range(15):
        optimizer.zero_grad()
        loss, _ = task.episode(batch)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < first / 2
