"""The strokes of KanjiVG, against another reader of SVG paths, and as further drawings that train."""

from importlib import metadata

import numpy as np
import pytest
from svgpathtools import svg2paths

from sketchembed.data.datamodules.quickdraw_datamodule import QuickdrawDataModule
from sketchembed.data.sources import kanji, quickdraw
from sketchembed.errors import DataError
from sketchembed.sketch import Sketch
from tests.data.sources.test_quickdraw import rows, write_npz


@pytest.fixture
def some(monkeypatch):
    """A few characters, the same ones each time."""
    chosen = kanji.files()[7::450]
    monkeypatch.setattr(kanji, "files", lambda: chosen)
    return chosen


def distance(points, line):
    """Return how far each point is from a line of points."""
    start, step = line[:-1], np.diff(line, axis=0)
    ahead = points[:, None] - start
    along = (ahead * step).sum(-1) / np.maximum((step**2).sum(-1), 1e-9)
    return np.linalg.norm(ahead - np.clip(along, 0, 1)[..., None] * step, axis=-1).min(axis=1)


def test_each_character_in_its_usual_form_is_read():
    names = [path.stem for path in kanji.files()]
    assert len(names) == len(set(names)) > 6000
    assert {"04e00", "03042"} <= set(names)
    assert all(int(name, 16) for name in names)


@pytest.mark.parametrize("epsilon", [0, 7])
def test_strokes_are_the_paths_that_another_reader_finds(some, epsilon):
    read = kanji.read(max_length=200, epsilon=epsilon)
    assert len(read.drawings) == len(some) > 10
    assert not read.rejected
    for path, (part, stroke3) in zip(some, read.drawings, strict=True):
        sketch = Sketch.from_stroke3(stroke3)
        left, top, right, bottom = sketch.bounds
        assert part == 0
        assert stroke3.dtype == np.int16
        paths = [np.array([one.point(at) for at in np.linspace(0, 1, 60)]) for one in svg2paths(path)[0]]
        curves = [np.stack([curve.real, curve.imag], axis=1) for curve in paths]
        whole = np.concatenate(curves)
        scale = 255 / np.ptp(whole, axis=0).max()
        middle = (whole.max(axis=0) + whole.min(axis=0)) / 2
        assert len(sketch.strokes) == len(curves)
        for stroke, curve in zip(sketch.strokes, curves, strict=True):
            # Points are an SVG unit apart and rounded to one of the 255.
            apart = distance((curve - middle) * scale + 127.5, stroke)
            assert apart.max() <= max(epsilon, 2) + scale + 1
        assert max(right - left, bottom - top) >= 255 - 2 * max(epsilon, 2) - 2


def test_they_train_beside_quick_draw_and_what_is_looked_at_stays(some, tmp_path, monkeypatch):
    monkeypatch.setenv("SKETCHEMBED_DATA", str(tmp_path))
    (tmp_path / "quickdraw").mkdir()
    drawing = rows((0, 0), (3, 4), (5, 0))
    for name in ("cat", quickdraw.class_names("unseen")[0]):
        write_npz(tmp_path / "quickdraw" / f"{name}.npz", [drawing] * 3, [drawing], [drawing])
    plain = QuickdrawDataModule(max_length=30, epsilon=7.0)
    more = QuickdrawDataModule(max_length=30, epsilon=7.0, kanji=True)
    for module in (plain, more):
        module.setup()
    added = kanji.read(30, 7)
    assert added.rejected == {"too long": len(some) - len(added.drawings)}
    assert len(added.drawings) > 5
    assert len(more.train_indices) == len(plain.train_indices) + len(added.drawings)
    assert more.seen == ["cat", kanji.CLASS]
    assert more.unseen == plain.unseen
    assert len(more.seen_indices) == len(plain.seen_indices)
    assert len(more.unseen_indices) == len(plain.unseen_indices)
    first = more.store.select([kanji.CLASS])[0]
    assert np.array_equal(more.store[first], added.drawings[0][1])
    assert len(QuickdrawDataModule(max_length=30, epsilon=7.0).prepare_store()) == 10


def test_what_is_missing_is_said(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(DataError, match=r"kanjivg is not installed.*pip install kanjivg"):
        kanji.read(64, 7)
