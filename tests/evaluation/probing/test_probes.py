"""Probes of embeddings, and the report parts that use them."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression

from sketchembed.data.doodles import generate
from sketchembed.data.store_writer import write_store
from sketchembed.errors import ConfigError, DataError
from sketchembed.evaluation import parts
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.pictures import Pictures
from sketchembed.evaluation.probing import probes, relations, spatial
from sketchembed.evaluation.probing.probe_maps import Column, Example, Map, maps_svg
from sketchembed.hub.model_files import save
from sketchembed.networks import ModelConfig, SketchEmbedNet
from sketchembed.networks.conv_vae import ConvVAE, ConvVAEConfig
from sketchembed.sketch import Sketch

TINY = ModelConfig(width=8, latent=12, hidden=10, hyper=6, embedding=2, mixtures=3, max_length=12)
VAE = ConvVAEConfig(width=8, latent=300)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    net = save(SketchEmbedNet(TINY, offset_scale=20.0), folder / "net.safetensors")
    return str(net), str(save(ConvVAE(VAE), folder / "vae.safetensors"))


@pytest.fixture
def context(checkpoints, store) -> EvaluationContext:
    context = EvaluationContext(*checkpoints)
    context.pictures = Pictures(store, store.class_names, [])
    return context


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    # Doodles replace the classes that the relations use.
    classes = {"circle": "circle", "square": "square", "snowman": "snowman", "television": "envelope"}
    drawn = [generate.drawings(kind, 14, seed=0)._replace(name=name) for name, kind in classes.items()]
    return write_store(tmp_path_factory.mktemp("store") / "store", drawn, source="quickdraw", max_length=64)


@pytest.fixture
def flat(monkeypatch):
    """Replace UMAP by the first two features, because UMAP takes long to compile."""
    for module in (relations, spatial):
        monkeypatch.setattr(module, "umap_projection", lambda features, seed: features[:, :2])


def split(features: np.ndarray, truth: np.ndarray) -> probes.ProbeData:
    return probes.ProbeData(features[:60], truth[:60], features[60:], truth[60:])


def test_linear_probe_matches_the_ridge_solution():
    random = np.random.default_rng(0)
    features = random.normal(size=(100, 5))
    truth = features @ random.normal(size=5) + 3 + 0.3 * random.normal(size=100)
    part = split(features, truth)
    middle = part.train.mean(0)
    centred = part.train - middle
    weights = np.linalg.solve(
        centred.T @ centred + np.eye(5), centred.T @ (part.targets - part.targets.mean())
    )
    wrong = (part.test - middle) @ weights + part.targets.mean() - part.test_targets
    found = probes.linear(part)
    assert found.mse == pytest.approx(np.mean(wrong**2))
    assert found.r2 == pytest.approx(1 - np.mean(wrong**2) / np.var(part.test_targets))
    # The penalty dominates for small features. Scaling removes this effect, whatever the scale.
    small = split(features / 1000, truth)
    assert probes.linear(small).r2 < 0.1
    assert probes.linear(small.scaled()).r2 == pytest.approx(probes.linear(part.scaled()).r2)
    assert part.scaled().train.var(axis=0).mean() == pytest.approx(1)
    assert probes.linear(part.first(10)).mse == probes.linear(split_first(features, truth)).mse


def split_first(features, truth):
    return probes.ProbeData(features[:10], truth[:10], features[60:], truth[60:])


def test_nonlinear_probe_fits_a_nonlinear_target():
    random = np.random.default_rng(0)
    features = random.uniform(-2, 2, size=(400, 2))
    truth = np.abs(features[:, 0])
    part = probes.ProbeData(features[:300], truth[:300], features[300:], truth[300:])
    assert probes.linear(part).r2 < 0.2
    assert probes.nonlinear(part, seed=0).r2 > 0.9
    assert probes.nonlinear(part, seed=0) == probes.nonlinear(part, seed=0)


@pytest.mark.parametrize("classes", [2, 4])
def test_classifier_matches_scikit_learn(classes):
    random = np.random.default_rng(0)
    truth = random.permutation(np.arange(2060) % classes)
    features = 0.2 * np.eye(50)[truth] + 0.2 * random.normal(size=(2060, 50))
    part = split(features, truth)
    theirs = LogisticRegression(tol=1e-8, max_iter=10_000).fit(part.train, part.targets)
    share = 100 * theirs.score(part.test, part.test_targets)
    assert 100 / classes + 5 < share < 95
    assert probes.classification_accuracy(part) == share


def test_sampled_embeddings_have_the_noise_of_the_model(context):
    torch.manual_seed(1)
    images = torch.rand(40, 1, 28, 28)
    found = probes.probe_features(context, images, seed=0)
    assert list(found) == [row.name for row in probes.probe_rows(context)]
    for kind, network in (("SketchEmbedding", context.model.network), ("Conv-VAE", context.baseline.network)):
        with torch.no_grad():
            latent = network.encode(images)
        np.testing.assert_allclose(found[f"{kind}, mean z"], latent.mean.numpy(), atol=1e-5)
        noise = found[f"{kind}, sampled z"] - found[f"{kind}, mean z"]
        noise /= np.exp(latent.logvar.numpy() / 2)
        assert stats.kstest(noise.flatten(), "norm").pvalue > 0.01
    np.testing.assert_allclose(found["Raw pixels"], 1 - images.flatten(1).numpy(), atol=1e-6)
    again = probes.probe_features(context, images, seed=0)
    np.testing.assert_array_equal(found["Conv-VAE, sampled z"], again["Conv-VAE, sampled z"])
    other = probes.probe_features(context, images, seed=1)
    assert (found["Conv-VAE, sampled z"] != other["Conv-VAE, sampled z"]).mean() > 0.9


@pytest.mark.slow
def test_umap_projection_keeps_neighbours_together():
    random = np.random.default_rng(0)
    truth = np.arange(90) % 3
    features = 6 * np.eye(10)[truth] + random.normal(size=(90, 10))
    flat = probes.umap_projection(features, seed=0)
    assert (flat.min(), flat.max()) == (0, 1)
    distance = cdist(flat, flat) + 9 * np.eye(90)
    assert (truth[distance.argmin(axis=1)] == truth).mean() > 0.95
    np.testing.assert_array_equal(flat, probes.umap_projection(features, seed=0))


def test_figure_shows_all_points_and_draws_examples_as_lines():
    triangle = Sketch.from_strokes([np.array([[3, 3], [25, 3], [14, 25], [3, 3]])])
    random = np.random.default_rng(0)
    values = np.arange(90) % 3
    examples = [Example(triangle, f"the {number}.", number) for number in range(3)]
    column = Column("shapes", examples, [Map(random.uniform(size=(90, 2)), values, "87 & 3")])
    document = maps_svg(["ours"], [column])
    root = ElementTree.fromstring(document)
    assert not list(root.iter("{http://www.w3.org/2000/svg}image"))
    dots = [path.get("d", "") for path in root.iter("{http://www.w3.org/2000/svg}path")]
    counts = [data.count("h0") for data in dots if re.fullmatch(r"(M[\d.]+ [\d.]+h0\s*)+", data)]
    assert counts == [30, 30, 30]
    for text in ("shapes", "ours", "87 &amp; 3", "the 2."):
        assert f">{text}</text>" in document


def test_relations_are_reported(context, flat):
    part = parts.make("relations", context, train=24, test=16, repeats=2)
    assert len(part.values) == 5 * 5 * 2
    assert all(0 <= value <= 100 for value in part.values.values())
    # Raw pixels determine the count, whatever the model.
    assert part.values["count/raw-pixels/accuracy"] == 100
    assert part.tables[0].rows[-1] == ["chance", "25", "50", "25", "25", "25"]
    assert part.facts["drawings"] == "14 of circle, 14 of snowman, 14 of square, 14 of television"
    assert "tested on 16 others (16 for the real classes)" in part.about
    again = relations.relations(context, train=24, test=16, repeats=2)
    assert again.values == part.values
    assert again.figures == part.figures


def test_real_classes_are_balanced_and_do_not_repeat(context):
    found = relations.Examples.real(context.pictures, 24, 200, seed=0, size=28)
    assert len(found.targets) == 4 * 14
    assert np.bincount(found.targets[:24]).tolist() == [6, 6, 6, 6]
    flat = found.images.flatten(1).numpy()
    # Every picture is one of the store's drawings of its class, and appears once.
    for number, name in enumerate(relations.REAL):
        whole = context.pictures.images(context.pictures.select(name)).flatten(1).numpy()
        distance = cdist(flat[found.targets == number], whole)
        assert distance.min(axis=1).max() < 1e-4
        assert len(set(distance.argmin(axis=1))) == 14
    with pytest.raises(DataError, match="14 drawings of 'circle'.*none is left for testing.*--train"):
        relations.Examples.real(context.pictures, 100, 200, seed=0, size=28)


def test_spatial_variables_are_reported(context, flat, monkeypatch):
    monkeypatch.setattr(
        spatial, "nonlinear", lambda part, seed: probes.RegressionScore(float(len(part.train)), 0.5)
    )
    part = parts.make("spatial", context, train=80, few=30, test=40, repeats=1, nonlinear_repeats=1)
    assert len(part.values) == 3 * 5 * 2 * 3 * 2
    for variable, spread in (("angle", 1.04), ("distance", 6), ("size", 18)):
        # Raw pixels predict these well, and R² and the mean squared error are consistent.
        r2, mse = (part.values[f"{variable}/raw-pixels/80/linear/{name}"] for name in ("r2", "mse"))
        assert r2 > 0.9
        assert mse / (1 - r2) == pytest.approx(spread**2 / 12, rel=0.35)
        assert part.values[f"{variable}/raw-pixels/30/nonlinear/r2"] == 30
    assert [table.title[:7] for table in part.tables] == ["Table 7", "Table 8"]
    assert part.tables[1].rows[0][0] == "Angle (SketchEmbedding, sampled z)"
    assert part.tables[0].paper[1][:3] == ["Angle (VAE)", "0.11", "0.0793"]
    assert {len(row) for table in part.tables for row in table.rows + table.paper} == {7}
    with pytest.raises(ConfigError, match="few is 500; expected 2 to 80"):
        spatial.spatial(context, train=80, few=500)


def test_model_without_a_baseline_is_probed_alone(checkpoints, store):
    context = EvaluationContext(checkpoints[0], vae="none")
    assert [row.key for row in probes.probe_rows(context)] == [
        "sketchembedding-sampled-z",
        "sketchembedding-mean-z",
        "raw-pixels",
    ]
