import pytest

from sketchembed.errors import ConfigError
from sketchembed.training.gallery import Gallery


def test_interval_of_zero_steps_is_refused():
    with pytest.raises(ConfigError, match="gallery.every is 0; expected 1 or more"):
        Gallery(every=0)
