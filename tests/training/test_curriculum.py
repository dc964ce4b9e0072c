import pytest

from sketchembed.errors import ConfigError
from sketchembed.training.curriculum import Curriculum


def test_alpha_follows_the_paper():
    # Appendix B: from 0, by 0.05 every 10,000 steps, capped at 0.50.
    curriculum = Curriculum()
    steps = [0, 9_998, 9_999, 19_999, 99_999, 250_000, 299_999]
    assert [curriculum.alpha(step) for step in steps] == pytest.approx([0, 0, 0.05, 0.1, 0.5, 0.5, 0.5])


def test_values_out_of_range_raise():
    with pytest.raises(ConfigError, match="alpha_max is 1.5"):
        Curriculum(alpha_max=1.5)
    with pytest.raises(ConfigError, match="every 0; expected .* every 1 or more steps"):
        Curriculum(every=0)
