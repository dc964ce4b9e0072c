import hashlib
import json
import math
import re
from pathlib import Path

import pytest
from safetensors import safe_open

from sketchembed.hub.model_files import PACKAGED
from sketchembed.hub.packaged import MODELS
from sketchembed.reporting import model_cards

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "models.md").read_text("utf-8")
CARDS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_page_is_current(tmp_path):
    model_cards.main(str(ROOT / "RESULTS.md"), str(tmp_path / "models.md"))
    assert (tmp_path / "models.md").read_text("utf-8") == PAGE, "run `make cards`"


@pytest.mark.parametrize("name", MODELS)
def test_card_agrees_with_the_file(name):
    path, card = PACKAGED / f"{name}.safetensors", CARDS[name]
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:16] in card
    with safe_open(path, framework="numpy") as file:
        known = json.loads(file.metadata()["origin"])
        shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    for text in (f"{known['drawings']:,} drawings of {known['classes']} classes", known["data_digest"]):
        assert text in card
    for text in (f"preset {known['preset']}", f"seed {known['seed']}", f"{known['step']:,} steps"):
        assert text in card
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    count = sum(math.prod(shape) for key, shape in shapes.items() if not key.endswith(buffers))
    assert f"{count:,} parameters" in card


def test_card_has_the_scores_of_the_results_page():
    assert "5w1s 97.32 ± 0.17, 5w5s 99.52 ± 0.05" in CARDS["quickdraw-conv4"]
    assert "(table 3): 20w1s 85.94 ± 0.19" in CARDS["quickdraw-alpha050"]
    assert "- Recognizability of drawings (table 4)" in CARDS["seen-classifier"].splitlines()
    assert "97.32" not in CARDS["quickdraw-conv4-seed1"]
