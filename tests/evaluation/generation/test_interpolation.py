import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator

from sketchembed.errors import ConfigError, DataError
from sketchembed.evaluation.generation import interpolation
from sketchembed.evaluation.generation.interpolation import PAPER, bilinear, interpolate
from sketchembed.evaluation.pictures import Pictures
from sketchembed.reporting.grid import Tile


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (8, 8), (20, 20), (3, 7)])
def test_interpolated_embeddings_match_scipy(rows, columns):
    corners = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    grid = bilinear(corners, rows, columns)
    assert grid.shape == (rows, columns, 6)
    between = RegularGridInterpolator(((0, 1), (0, 1)), corners.double().numpy().reshape(2, 2, 6))
    places = np.stack(
        np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij"), axis=-1
    )
    np.testing.assert_allclose(grid, between(places), atol=1e-6)
    # The corners equal the embeddings bit for bit.
    assert torch.equal(grid[[0, 0, -1, -1], [0, -1, 0, -1]], corners)


def test_centre_is_the_mean_of_the_corners():
    corners = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(bilinear(corners, 9)[4, 4], corners.mean(dim=0))


def test_figure_corners_show_the_four_drawings(small_context, monkeypatch):
    kept = []
    grid = interpolation.grid_svg
    monkeypatch.setattr(
        interpolation, "grid_svg", lambda rows, **rest: (kept.append(rows), grid(rows, **rest))[1]
    )
    names = small_context.pictures.classes
    four = [names[0], names[3], names[5], names[-1]]
    part = interpolate(small_context, ", ".join(four), size=3)
    (rows,) = kept
    given = [rows[0][0], rows[0][6], rows[2][0], rows[2][6]]
    assert all(isinstance(tile, Tile) and tile.shaded for tile in given)
    drawn = [rows[0][2], rows[0][4], rows[2][2], rows[2][4]]
    pictured = [rows[0][8], rows[0][10], rows[2][8], rows[2][10]]
    store = small_context.pictures.store
    for seed, (name, tile) in enumerate(zip(four, given, strict=True)):
        index = small_context.pictures.select(name, 1, seed=seed)
        assert tile.content == small_context.pictures.sketches(index)[0]
        image = small_context.pictures.images(index)
        (expected,) = small_context.net.draw(image)
        np.testing.assert_allclose(drawn[seed].points, expected.points, atol=1e-3)
        np.testing.assert_array_equal(drawn[seed].lifted, expected.lifted)
        np.testing.assert_allclose(
            pictured[seed], small_context.baseline.network.reconstruct(image)[0], atol=1e-5
        )
        assert store.class_names[store.labels[index[0]]] == name
    assert list(part.facts["interpolation"].values()) == four
    assert part.figures[0].name == "interpolation"
    assert all(f">{name}<" in part.figures[0].svg for name in four)
    corners, edges, inside = part.tables[0].rows[0][2:]
    assert -1 <= min(corners, edges, inside) <= max(corners, edges, inside) <= 1.0001


def test_repeated_class_shows_different_drawings(small_context, monkeypatch):
    kept = []
    monkeypatch.setattr(interpolation, "grid_svg", lambda rows, **_: (kept.append(rows), "<svg/>")[1])
    name = small_context.pictures.classes[0]
    interpolate(small_context, f"{name},{name},{name},{name}", size=2)
    (rows,) = kept
    given = [row[at].content for row in rows for at in (0, 5)]
    assert len({sketch.points.tobytes() for sketch in given}) > 1


def test_invalid_options_raise(small_context):
    with pytest.raises(ConfigError, match="3 corners: cat, dog, cow"):
        interpolate(small_context, "cat, dog, cow")
    with pytest.raises(DataError, match="no class 'catt'"):
        interpolate(small_context, "catt, cat, cat, cat")
    with pytest.raises(ConfigError, match="size is 1"):
        interpolate(small_context, size=1)


@pytest.mark.data
def test_paper_grids_use_real_drawings(real_classes, small_context):
    named = {name for names in PAPER.values() for name in names}
    small_context.pictures = Pictures.quickdraw(real_classes(*sorted(named)))
    part = interpolate(small_context, size=2)
    names = [figure.name for figure in part.figures]
    assert names == ["figure-7-interpolation", "figure-8-interpolation", "figure-9-interpolation"]
    corners = list(part.facts["figure-7-interpolation"].values())
    assert corners == ["power outlet", "snowman", "jacket", "elbow"]
    assert part.figures[1].svg.count("<image") == 4
