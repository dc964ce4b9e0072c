from pathlib import Path

import pytest
import torch
import yaml

from sketchembed.errors import SketchEmbedError
from sketchembed.training import presets


def test_every_preset_names_files_that_exist_and_parse():
    for name in presets.PRESETS:
        _, args, _ = presets.expand_preset(name)
        for path in args[1::2]:
            assert yaml.safe_load(Path(path).read_text()), path
    with pytest.raises(SketchEmbedError, match="no preset 'papr'.*'paper'"):
        presets.expand_preset("papr")


def test_auto_preset_gives_its_reason(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert presets.expand_preset("auto")[::2] == ("cpu", "no CUDA device found")
