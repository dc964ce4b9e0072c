"""Few-shot episodes: which images support and which are asked, by number alone.

*Source*: Vinyals et al. 2016; paper section 5; the released code draws the classes of an episode uniformly
from the whole split and asks about all images that do not support.
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
        query: int64 ``[episodes, queries]``; -1 where an episode has fewer than another.
        query_labels: int64 ``[episodes, queries]``, the class within the episode; -1 likewise.
        classes: int64 ``[episodes, way]``, the classes' numbers in the set.
    """

    support: np.ndarray
    query: np.ndarray
    query_labels: np.ndarray
    classes: np.ndarray


class Episodes:
    """Episodes of an image set; episode `i` depends on the seed and `i` alone.

    Args:
        data: the images.
        way: classes in an episode.
        shot: support images a class.
        query: query images a class; all the rest if None, as in the released code.
        seed: of the episodes.
        within_groups: whether the classes of an episode share a group, such as an alphabet. The group is
            drawn first, each as likely as another.

    Raises:
        ConfigError: if a number is out of its range.
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
                    expected="a way of 2 or more, a shot and a query count of 1 or more",
                    fix="Write a setting as 5w1s, and queries as a number or `all`",
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
                asked = f"{self.query or 'at least 1'} to ask about"
                raise DataError(
                    f"class '{name}' has {len(members)} images, {needed - len(members)} too few",
                    expected=f"{needed}: {self.shot} to support and {asked}",
                    fix="Ask for fewer shots or queries, or fetch the class again",
                )

    def _make_pools(self) -> list[np.ndarray]:
        everything = np.arange(len(self.data.class_names))
        if not self.within_groups:
            pools = [everything]
        else:
            if self.data.groups is None:
                raise ConfigError(
                    "these images have no groups",
                    expected="a data set whose classes have alphabets",
                    fix="Leave out the option",
                )
            groups = np.array(self.data.groups)
            pools = [everything[groups == group] for group in sorted(set(self.data.groups))]
        kept = [pool for pool in pools if len(pool) >= self.way]
        if not kept:
            most = max((len(pool) for pool in pools), default=0)
            where = "in its largest alphabet" if self.within_groups else ""
            raise DataError(
                f"the data have {most} classes {where}".rstrip() + f", {self.way - most} too few",
                expected=f"{self.way} classes an episode",
                fix="Ask for fewer ways, or fetch the whole data set",
            )
        return kept

    def batch(self, ids: Sequence[int] | range) -> EpisodeBatch:
        """Return the episodes of these ids."""
        drawn = [self._draw(number) for number in ids]
        longest = max((len(query) for _, query, _, _ in drawn), default=0)
        query = np.full((len(drawn), longest), -1, dtype=np.int64)
        query_labels = np.full((len(drawn), longest), -1, dtype=np.int64)
        for row, (_, asked, labels, _) in enumerate(drawn):
            query[row, : len(asked)] = asked
            query_labels[row, : len(asked)] = labels
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
        """Return a digest of the first `count` episodes, by the names of their images.

        Two reports with the same digest have asked the same questions, on whatever machine.
        """
        state = hashlib.sha256(self.data.digest().encode())
        for first in range(0, count, 1000):
            batch = self.batch(range(first, min(first + 1000, count)))
            for part in (batch.support, batch.query, batch.query_labels):
                state.update(np.ascontiguousarray(part, dtype="<i4").tobytes())
        return state.hexdigest()[:DIGEST_LENGTH]
