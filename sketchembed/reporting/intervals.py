"""95 % confidence intervals of means and of proportions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from torch import Tensor


class Interval(NamedTuple):
    """A mean, and half the width of its 95 % confidence interval (NaN for a single repetition)."""

    mean: float | int
    half: float | int

    def __str__(self) -> str:
        """Return both as table text such as ``0.985 ± 0.012``, without digits that are not significant."""
        if np.isnan(self.half):
            return f"{self.mean:.3g}"
        # Two digits if the half width begins with 1, 2 or 3, else one.
        digits = -int(np.floor(np.log10(self.half / 3.5))) if self.half > 0 else 1
        digits = min(max(digits, 1), 5)
        return f"{self.mean:.{digits}f} ± {self.half:.{digits}f}"


def student_interval(values: Sequence[float]) -> Interval:
    """Return the mean of repeated measurements with its interval from Student's t distribution."""
    from scipy.stats import t

    half = np.nan
    if len(values) > 1:
        half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return Interval(float(np.mean(values)), float(half))


def wilson_interval(correct: Bool[Tensor, " n"]) -> tuple[float, float]:
    """Return Wilson's interval (low, high) of the accuracy of answers, in percent."""
    from scipy.stats import binomtest

    found = binomtest(int(correct.sum()), len(correct)).proportion_ci(0.95, "wilson")
    return 100 * float(found.low), 100 * float(found.high)


def difference(left: Bool[Tensor, " n"], right: Bool[Tensor, " n"]) -> tuple[float, float]:
    """Return left minus right accuracy on the same inputs, and half its interval, in percentage points."""
    each = 100 * (left.double() - right.double()).numpy()
    return float(each.mean()), float(1.96 * each.std() / np.sqrt(len(each)))
