"""A scikit-learn transformer that embeds images with a trained model."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sketchembed.errors import DataError
from sketchembed.hub.model_files import load_network
from sketchembed.networks.model_inputs import Images
from sketchembed.networks.network import Network


class SketchEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer from images to the embeddings of a trained model, for pipelines of scikit-learn.

    Fitting only loads the model; nothing is learned. The images are paths, PIL images, arrays or tensors, as
    for ``net.embed``. They may also be rows of pixels, ``[n, channels * size * size]``, as in scikit-learn's
    own data sets.

    Args:
        model: name of a packaged model, a weights file, a checkpoint, or the folder of a run.
        device: device of the model.
        batch_size: number of images that are embedded at once.

    Example::

        pipeline = make_pipeline(SketchEmbedder(), LogisticRegression())
        pipeline.fit(paths, labels)
    """

    def __init__(self, model: str = "quickdraw-conv4", device: str = "cpu", batch_size: int = 256) -> None:
        self.model = model
        self.device = device
        self.batch_size = batch_size

    def fit(self, X: Images, y: Any = None) -> SketchEmbedder:
        """Load the model.

        Raises:
            CheckpointError: if there is none.
        """
        self.network_: Network = load_network(self.model, self.device)
        config = self.network_.config
        blank = torch.ones(1, config.channels, config.image_size, config.image_size)
        self._n_features_out = self.network_.embed(blank).shape[1]
        return self

    def transform(self, X: Images) -> Float32[np.ndarray, "n features"]:
        """Return the embeddings of images.

        Raises:
            DataError: if one of the images is not a picture, or there is none.
        """
        check_is_fitted(self, "network_")
        images = self._images(X)
        parts = [
            self.network_.embed(images[start : start + self.batch_size]).float().cpu().numpy()
            for start in range(0, len(images), self.batch_size)
        ]
        if not parts:
            raise DataError("there are no images", expected="one or more", fix="Pass a list of images")
        return np.concatenate(parts)

    def _images(self, given: Images) -> list[Any]:
        """Return the single images; rows of pixels become images of the network's size."""
        given = given.to_numpy() if hasattr(given, "to_numpy") else given  # a column of a data frame
        if isinstance(given, np.ndarray | torch.Tensor) and given.ndim == 2:
            config = self.network_.config
            shape = (config.channels, config.image_size, config.image_size)
            if given.shape[1] not in (1, math.prod(shape)):
                raise DataError(
                    f"there are {given.shape[1]} values for each image",
                    expected=f"{math.prod(shape)}, the pixels of {' x '.join(map(str, shape))}",
                    fix="Pass a list of images, if they have another size",
                )
            given = given[:, 0] if given.shape[1] == 1 else given.reshape(-1, *shape)
        single = isinstance(given, str | os.PathLike | Image.Image | dict)
        if single or not isinstance(given, Iterable) or getattr(given, "ndim", 1) == 0:
            raise DataError(
                f"the images are of type {type(given).__name__}",
                expected="a list of images",
                fix="Pass a single image as [image]",
            )
        return list(given)

    def __sklearn_tags__(self) -> Tags:
        """Return what scikit-learn may assume about the input."""
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.three_d_array = True
        tags.no_validation = True
        return tags
