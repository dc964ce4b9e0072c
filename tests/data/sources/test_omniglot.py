import zipfile
from itertools import islice

import numpy as np
import pytest
from rdp import rdp

from sketchembed.data.datamodules.omniglot_datamodule import OmniglotDataModule
from sketchembed.data.sources import omniglot
from sketchembed.errors import DataError

TEXT = "START\n10,-20,0\n10,-60,20\n10.4,-80,40\nBREAK\n30,-30,60\nBREAK\n"


def test_strokes_are_read_with_y_down():
    sketch = omniglot.parse_strokes(TEXT)
    assert [stroke.tolist() for stroke in sketch.strokes] == [[[10, 20], [10, 60], [10.4, 80]], [[30, 30]]]


def test_simplify_agrees_with_rdp_and_keeps_dots():
    random = np.random.default_rng(0)
    line = np.cumsum(random.normal(0, 3, (60, 2)), axis=0)
    text = "START\n" + "".join(f"{x},{-y},0\n" for x, y in line) + "BREAK\n5,-5,1\nBREAK\n"
    simple = omniglot.simplify(omniglot.parse_strokes(text))
    np.testing.assert_allclose(simple.strokes[0], rdp(line, epsilon=2.0), atol=1e-9)
    assert simple.strokes[1].tolist() == [[5, 5], [5.5, 5.5], [5, 5]]


@pytest.mark.parametrize(
    "text", ["START\nBREAK\n", "START\n1,2\nBREAK\n", "START\n1,2,x\n", "<html>", "START\nnan,1,1\n"]
)
def test_damaged_stroke_file_raises(text):
    with pytest.raises(DataError):
        omniglot.parse_strokes(text, "0001_01.txt")


def test_split_has_the_published_sizes():
    split = omniglot.vinyals_split()
    assert [len(split[part]) for part in ("train", "val", "test")] == [1028, 172, 423]
    assert len(set().union(*split.values())) == omniglot.CHARACTERS


def test_four_rotations_return_to_the_start():
    sketch = omniglot.parse_strokes(TEXT)
    turned = sketch
    for _ in range(4):
        turned = omniglot.rotate(turned, 90)
    np.testing.assert_allclose(turned.points, sketch.points)
    # The rotation is counter-clockwise on screen: a line that pointed down now points right.
    assert (
        omniglot.rotate(sketch, 90).strokes[0].tolist()[1][0]
        > omniglot.rotate(sketch, 90).strokes[0].tolist()[0][0]
    )


def test_published_layout_is_prepared(tmp_path):
    names = omniglot.vinyals_split()
    chosen = [names["train"][0], names["val"][0], names["test"][0]]
    for part in ("strokes_background", "strokes_evaluation"):
        with zipfile.ZipFile(tmp_path / f"{part}.zip", "w") as archive:
            for character in chosen if part == "strokes_background" else []:
                archive.writestr(f"{part}/{character}/0001_01.txt", TEXT)
                archive.writestr(f"{part}/{character}/0001_02.txt", TEXT)
    store = omniglot.prepare_omniglot(tmp_path, tmp_path / "store")
    assert len(store) == 3 * 2 * 4
    assert len(store.class_names) == 12
    assert np.bincount(store.partitions).tolist() == [8, 8, 8]
    again = omniglot.prepare_omniglot(tmp_path, tmp_path / "store")
    assert again.manifest["digests"] == store.manifest["digests"]


@pytest.mark.parametrize("rotations", [True, False])
def test_scale_of_all_drawings_leaves_out_their_positions(rotations, tmp_path):
    names = omniglot.vinyals_split()
    texts = {"train": "START\n10,-10,0\n40,-10,1\n40,-60,2\n", "test": "START\n50,-50,0\n53,-54,1\n"}
    for part in ("strokes_background", "strokes_evaluation"):
        (tmp_path / "omniglot").mkdir(exist_ok=True)
        with zipfile.ZipFile(tmp_path / "omniglot" / f"{part}.zip", "w") as archive:
            for split, text in texts.items() if part == "strokes_background" else ():
                archive.writestr(f"{part}/{names[split][0]}/0001_01.txt", text)
    data = OmniglotDataModule(str(tmp_path), rotations=rotations, scale_of="all")
    data.setup()
    # The offsets are (30, 0) and (0, 50) of the one, (3, 4) of the other.
    assert data.offset_scale == pytest.approx(np.std([30, 0, 0, 50, 3, 4]))


def test_missing_file_error_names_the_file(tmp_path):
    with pytest.raises(DataError, match="strokes_background"):
        omniglot.prepare_omniglot(tmp_path, tmp_path / "store")


@pytest.mark.data
def test_published_strokes_lie_within_the_square(real_data):
    characters = {}
    files = omniglot.published_files(real_data / "omniglot", "strokes")
    for character, name, content in islice(files, 400):
        sketch = omniglot.parse_strokes(content.decode(), name)
        characters.setdefault(character, []).append(sketch)
        assert sketch.points.min() > -5
        assert sketch.points.max() < 110
    assert 19 <= len(characters) <= 22
