import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageDraw
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import validate_data

import sketchembed
from sketchembed import SketchEmbedder
from sketchembed.errors import CheckpointError, DataError
from sketchembed.networks import ModelConfig, SketchEmbedNet

SIZES = {"width": 4, "latent": 6, "hidden": 10, "hyper": 6, "embedding": 2, "mixtures": 3, "max_length": 12}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    net = SketchEmbedNet(ModelConfig(**SIZES))
    return str(sketchembed.save(net, tmp_path_factory.mktemp("weights") / "net.safetensors"))


@pytest.fixture
def pictures(tmp_path):
    """Paths of twelve pictures of rings and crosses, and their classes."""
    paths, labels = [], []
    for at in range(12):
        image, low, high = Image.new("L", (80, 80), 255), 12 + at, 60 + at
        pen = ImageDraw.Draw(image)
        if at % 2:
            pen.ellipse((low, low, high, high), outline=0, width=3)
        else:
            pen.line((low, low, high, high), fill=0, width=3)
            pen.line((low, high, high, low), fill=0, width=3)
        image.save(tmp_path / f"{at}.png")
        paths.append(str(tmp_path / f"{at}.png"))
        labels.append(at % 2)
    return paths, np.array(labels)


class RowEmbedder(SketchEmbedder):
    """Embeds any rows of numbers: scikit-learn's checks pass rows that are no images."""

    def fit(self, X, y=None):
        validate_data(self, X)
        return super().fit(X)

    def _images(self, given):
        rows = validate_data(self, given, reset=False)
        images = np.ones((len(rows), 1, 28, 28))
        images.reshape(len(rows), -1)[:, : rows.shape[1]] = 1 / (1 + np.exp(-rows))
        return super()._images(images)


EXPECTED_TO_FAIL = {
    "check_do_not_raise_errors_in_init_or_set_params": "the tests check types at run time",
    "check_transformer_preserve_dtypes": "embeddings are float32 for any input",
}


def test_applicable_estimator_checks_pass(weights):
    results = check_estimator(
        RowEmbedder(weights), expected_failed_checks=EXPECTED_TO_FAIL, on_skip=None, on_fail=None
    )
    status = {result["check_name"]: (result["status"], str(result["exception"])) for result in results}
    wrong = {name: why for name, why in status.items() if why[0] not in ("passed", "skipped", "xfail")}
    assert not wrong
    assert sum(why[0] == "passed" for why in status.values()) >= 30


def test_embeddings_equal_those_of_the_model(weights, pictures):
    paths, _ = pictures
    expected = sketchembed.load(weights).embed(paths).numpy()
    embedder = SketchEmbedder(weights, batch_size=5).fit(paths)
    images = [Image.open(path) for path in paths]
    for given in (
        paths,
        np.array(paths),
        pd.Series(paths),
        pd.DataFrame({"path": paths}),
        images,
        iter(paths),
    ):
        np.testing.assert_allclose(embedder.transform(given), expected, rtol=1e-4, atol=1e-5)
    pixels = sketchembed.load(weights).inputs(paths)
    for given in (pixels, pixels.numpy(), pixels[:, 0].numpy(), pixels.flatten(1).numpy()):
        np.testing.assert_allclose(embedder.transform(given), expected, rtol=1e-4, atol=1e-5)
    assert list(embedder.get_feature_names_out()[:2]) == ["sketchembedder0", "sketchembedder1"]
    framed = clone(embedder).set_output(transform="pandas").fit(paths).transform(paths)
    assert framed.shape == (12, 6)


def test_pipeline_classifies_pictures(pictures):
    paths, labels = pictures
    pipeline = make_pipeline(SketchEmbedder("quickdraw-conv4"), LogisticRegression())
    assert cross_val_score(pipeline, np.array(paths), labels, cv=3).mean() == 1.0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("a.png", "of type str"),
        (3, "of type int"),
        ([], "there are no images"),
        (np.zeros((4, 64)), "there are 64 values for each image; expected 784"),
        (np.full((4, 784), np.nan), "not finite"),
        (np.full((4, 784), 255.0), "from 255 to 255"),
    ],
)
def test_other_input_raises_one_sentence(given, says, weights):
    with pytest.raises(DataError, match=says):
        SketchEmbedder(weights).fit(given).transform(given)


def test_unknown_model_raises():
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        SketchEmbedder("wings").fit([])
