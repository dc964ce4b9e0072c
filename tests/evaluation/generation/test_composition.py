import numpy as np
import pytest
import torch

from sketchembed.cli import main
from sketchembed.errors import ConfigError
from sketchembed.evaluation.generation import composition
from sketchembed.evaluation.generation.class_arithmetic import parse
from sketchembed.evaluation.generation.composition import EmbeddingSum, compose, weighted_sum, with_norm
from sketchembed.evaluation.pictures import sketch_images
from sketchembed.reporting.grid import Tile
from sketchembed.sketch import Sketch


@pytest.fixture
def shown(monkeypatch):
    """Return a list that collects the cells of each figure."""
    kept = []
    grid = composition.grid_svg
    monkeypatch.setattr(
        composition, "grid_svg", lambda rows, **rest: (kept.append(rows), grid(rows, **rest))[1]
    )
    return kept


def test_embedding_sums_match_numpy():
    random = np.random.default_rng(0)
    z = {name: random.normal(size=(5, 7)).astype(np.float32) for name in ("a", "b", "c")}
    tensors = {name: torch.from_numpy(value) for name, value in z.items()}
    total = weighted_sum({"a": 1.0, "c": -2.0, "b": 0.5}, tensors)
    np.testing.assert_allclose(total, z["a"] - 2 * z["c"] + z["b"] / 2, rtol=1e-5, atol=1e-6)
    usual = with_norm(total, 3.0).numpy()
    np.testing.assert_allclose(np.linalg.norm(usual, axis=1), 3, rtol=1e-5)
    cosines = (usual * total.numpy()).sum(1) / np.linalg.norm(usual, axis=1) / np.linalg.norm(total, axis=1)
    np.testing.assert_allclose(cosines, 1, rtol=1e-5)
    assert with_norm(torch.zeros(1, 3), 2.0).abs().sum() == 0


def test_sum_adds_embeddings_of_single_drawings(small_context):
    pictures = small_context.pictures
    names = pictures.classes
    one = EmbeddingSum.of(small_context, {names[0]: 1.0, names[1]: -1.0, names[2]: 2.0}, 9)
    assert one.count == 9
    z = one.embedded(small_context, small_context.model)
    for name, chosen in one.drawings.items():
        assert {
            small_context.pictures.store.class_names[at] for at in small_context.pictures.store.labels[chosen]
        } == {name}
        again = small_context.net.embed(small_context.pictures.images(chosen))
        torch.testing.assert_close(z[name], again, atol=1e-4, rtol=1e-4)
    total, usual = one.totals(z)
    first, second, third = (z[name] for name in names[:3])
    torch.testing.assert_close(total, first - second + 2 * third)
    lengths = torch.cat([first, second, third]).norm(dim=1)
    assert usual.norm(dim=1).numpy() == pytest.approx(float(lengths.mean()), rel=1e-4)


def test_class_minus_itself_cancels(small_context, shown):
    """cat - dog + dog equals cat, so each row shows the model's drawing of its first operand."""
    cat, dog = small_context.pictures.classes[:2]
    part = compose(small_context, f"{cat} - {dog} + {dog}", examples=5, shown=3)
    (rows,) = shown
    assert len(rows) == 3 + 1
    for row in rows[:3]:
        operand = next(cell.content for cell in row if isinstance(cell, Tile))
        drawn = row[row.index("=") + 1]
        assert isinstance(operand, Sketch)
        (expected,) = small_context.net.draw(sketch_images([operand]))
        np.testing.assert_allclose(drawn.points, expected.points, atol=0.05)
    assert part.facts["examples"] == {f"{cat} + 0 * {dog}": 5}


def test_figure_shows_signs_means_and_the_vae(small_context, shown):
    cat, dog, bird = small_context.pictures.classes[:3]
    sums = [f"{cat} - {dog} + 0.5 * {bird}", f"{bird} - {dog}"]
    part = compose(small_context, ", ".join(sums), examples=4, shown=2, temperature=0.5)
    (rows,) = shown
    assert [len(row) for row in rows] == [6 + 1 + 3 + 1 + 2] * 6
    assert [cell for cell in rows[0] if isinstance(cell, str)] == ["−", "+0.5×", "="]
    assert [cell for cell in rows[3] if isinstance(cell, str)] == ["−", "="]
    # Rows of examples show given drawings as operands; rows of means show decoded ones.
    assert [row[-8].shaded for row in rows] == [True, True, False, True, True, False]
    assert all(np.shape(row[-1]) == (1, 28, 28) for row in rows)
    assert [len(table.rows) for table in part.tables] == [6, 6]
    classes = [item["class"] for item in part.drawings[0].items]
    assert classes[:2] == [f"{sums[0]} (1)", f"{sums[0]} (2)"]
    assert part.figures[0].svg.count("<image") == 12
    assert part.values[f"{sums[1]}/conv-vae/sum/target"] == pytest.approx(part.tables[1].rows[4][-1])


def test_example_count_is_limited_by_the_drawings(small_context):
    name = small_context.pictures.classes[0]
    assert EmbeddingSum.of(small_context, parse(name, [name]), 500).count == 28
    with pytest.raises(ConfigError, match="examples is 0"):
        compose(small_context, examples=0)


def test_invalid_sum_gives_a_one_line_error(small_networks, real_classes, capsys, monkeypatch):
    monkeypatch.setenv("SKETCHEMBED_DATA", str(real_classes("circle", "snowman", "square")))
    given = [f"--checkpoint={small_networks[0]}", "--vae=none", "--wandb=disabled"]
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", "compose", "snowman - circl", *given])
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sketchembed:")]
    assert len(errors) == 1
    assert errors[0].startswith("sketchembed: there is no class 'circl';")
    assert "'circle'" in errors[0]
