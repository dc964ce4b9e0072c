"""Few-shot episodes as indices of support and query images.

*Source*: Vinyals et al. 2016; paper section 5. As in the released code, the classes of an episode are drawn
uniformly from the whole split, and all images that are not in the support set are queries.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sketchembed.data.image_set import ImageSet
from sketchembed.errors import ConfigError, DataError

DIGEST_LENGTH = 16


class EpisodeBatch(NamedTuple):
    """Several episodes, as indices into an :class:`ImageSet`.

    Attributes:
        support: int64 ``[episodes, way * shot]``, class by class.
        query: int64 ``[episodes, queries]``; padded with -1 if episodes have different numbers of queries.
        query_labels: int64 ``[episodes, queries]``, number of the class within the episode; padded with -1.
        classes: int64 ``[episodes, way]``, numbers of the classes in the image set.
    """

    support: np.ndarray
    query: np.ndarray
    query_labels: np.ndarray
    classes: np.ndarray


class Episodes:
    """Episodes of an image set; an episode depends only on the seed and its id.

    Args:
        data: images.
        way: classes per episode.
        shot: support images per class.
        query: query images per class; None for all remaining images, as in the released code.
        seed: seed of the episodes.
        within_groups: draw all classes of an episode from one group, such as an alphabet. The group is drawn
            first, uniformly.

    Raises:
        ConfigError: if a number is out of range, or the classes have no groups.
        DataError: if there are too few classes, or a class has too few images.
    """

    def __init__(
        self,
        data: ImageSet,
        way: int,
        shot: int,
        query: int | None = None,
        seed: int = 0,
        within_groups: bool = False,
    ) -> None:
        for name, value in (("way", way), ("shot", shot), ("query", 1 if query is None else query)):
            if value < (2 if name == "way" else 1):
                raise ConfigError(
                    f"{name} is {value}",
                    expected="way of 2 or more, shot and query of 1 or more",
                    fix="Write a setting such as 5w1s, and queries as a number or `all`",
                )
        self.data, self.way, self.shot, self.query, self.seed = data, way, shot, query, seed
        self.within_groups = within_groups
        order = np.argsort(data.labels, kind="stable")
        ends = np.searchsorted(data.labels[order], np.arange(len(data.class_names) + 1))
        self._members = [order[first:last] for first, last in itertools.pairwise(ends)]
        self._check_members()
        self._pools = self._make_pools()

    def _check_members(self) -> None:
        needed = self.shot + (self.query or 1)
        for name, members in zip(self.data.class_names, self._members, strict=True):
            if len(members) < needed:
                queries = self.query or "at least 1"
                raise DataError(
                    f"class '{name}' has {len(members)} images, {needed - len(members)} too few",
                    expected=f"{needed}: {self.shot} support images and {queries} query images",
                    fix="Choose fewer shots or queries, or download the class again",
                )

    def _make_pools(self) -> list[np.ndarray]:
        """Return the sets of classes from which an episode can be drawn."""
        pools = [np.arange(len(self.data.class_names))]
        if self.within_groups:
            if self.data.groups is None:
                raise ConfigError(
                    "the classes of this data set have no groups",
                    expected="a data set whose classes have alphabets",
                    fix="Omit the option",
                )
            groups = np.array(self.data.groups)
            pools = [np.flatnonzero(groups == group) for group in sorted(set(self.data.groups))]
        kept = [pool for pool in pools if len(pool) >= self.way]
        if not kept:
            most = max((len(pool) for pool in pools), default=0)
            where = " in the largest alphabet" if self.within_groups else ""
            raise DataError(
                f"there are {most} classes{where}, {self.way - most} too few",
                expected=f"{self.way} classes per episode",
                fix="Choose fewer ways, or download the whole data set",
            )
        return kept

    def batch(self, ids: Sequence[int] | range) -> EpisodeBatch:
        """Return the episodes with these ids."""
        drawn = [self._draw(number) for number in ids]
        longest = max((len(query) for _, query, _, _ in drawn), default=0)
        query = np.full((len(drawn), longest), -1, dtype=np.int64)
        query_labels = np.full((len(drawn), longest), -1, dtype=np.int64)
        for row, (_, images, labels, _) in enumerate(drawn):
            query[row, : len(images)] = images
            query_labels[row, : len(images)] = labels
        return EpisodeBatch(
            np.stack([support for support, _, _, _ in drawn]),
            query,
            query_labels,
            np.stack([classes for _, _, _, classes in drawn]),
        )

    def _draw(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        random = np.random.default_rng([self.seed, number])
        pool = self._pools[int(random.integers(len(self._pools)))] if self.within_groups else self._pools[0]
        classes = random.choice(pool, self.way, replace=False)
        support, query, labels = [], [], []
        last = None if self.query is None else self.shot + self.query
        for place, chosen in enumerate(classes):
            shuffled = random.permutation(self._members[chosen])
            support.append(shuffled[: self.shot])
            query.append(shuffled[self.shot : last])
            labels.append(np.full(len(query[-1]), place, dtype=np.int64))
        return np.concatenate(support), np.concatenate(query), np.concatenate(labels), classes

    def digest(self, count: int) -> str:
        """Return a digest of the names of all images in the first `count` episodes.

        Results with the same digest were computed on the same episodes.
        """
        state = hashlib.sha256(self.data.digest().encode())
        for first in range(0, count, 1000):
            batch = self.batch(range(first, min(first + 1000, count)))
            for part in (batch.support, batch.query, batch.query_labels):
                state.update(np.ascontiguousarray(part, dtype="<i4").tobytes())
        return state.hexdigest()[:DIGEST_LENGTH]
