import math

import numpy as np
import pytest
import torch
from scipy import stats

from sketchembed.reporting.intervals import Interval, difference, student_interval, wilson_interval


def test_student_interval_matches_scipy():
    values = [0.2, 0.5, 0.3, 0.9]
    found = student_interval(values)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))


def test_intervals_are_written_with_significant_digits():
    assert [str(Interval(*pair)) for pair in ((0.98543, 0.0123), (57.234, 8.71), (100, 0))] == [
        "0.985 ± 0.012",
        "57.2 ± 8.7",
        "100.0 ± 0.0",
    ]
    assert str(student_interval([0.98543])) == "0.985"


def test_wilson_interval_and_difference_match_their_formulas():
    right = torch.arange(50) < 41
    share, z, n = 0.82, 1.959964, 50
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    assert wilson_interval(right) == pytest.approx((100 * (middle - half), 100 * (middle + half)), abs=1e-4)
    assert wilson_interval(torch.ones(10, dtype=torch.bool))[1] == pytest.approx(100)
    mean, half = difference(right, torch.arange(50) >= 25)
    assert mean == pytest.approx(100 * (0.82 - 0.5))
    assert half == pytest.approx(1.96 * 100 * np.std([1] * 25 + [0] * 16 + [-1] * 9) / math.sqrt(50))
