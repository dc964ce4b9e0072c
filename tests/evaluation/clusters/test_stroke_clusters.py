"""Clusters of strokes: activations match the plain cell, and labels match DBSCAN."""

import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist
from sklearn.cluster import DBSCAN

from sketchembed.data.doodles import generate
from sketchembed.errors import CheckpointError, ConfigError, DataError
from sketchembed.evaluation.clusters import stroke_clusters
from sketchembed.evaluation.clusters.cluster_figure import (
    FAINT,
    NOISE,
    OTHERS,
    Coloured,
    clusters_svg,
    palette,
    runs,
    wholes_svg,
)
from sketchembed.evaluation.clusters.hyper_states import cluster, half_core_radius, number_by_frequency, trace
from sketchembed.evaluation.clusters.stroke_clusters import clusters
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.generation.generation_inputs import choose_balanced
from sketchembed.evaluation.pictures import Pictures
from sketchembed.hub.model_files import save
from sketchembed.networks import ModelConfig, SketchEmbedNet
from sketchembed.networks.decoder import POSITION_SCALE
from sketchembed.networks.sketchembednet import LIFTED_START
from sketchembed.sketch import START, Sketch, cairosvg

TINY = {"width": 8, "latent": 12, "hidden": 10, "hyper": 6, "embedding": 2, "mixtures": 3, "max_length": 12}
SVG = "{http://www.w3.org/2000/svg}"


def decode_stepwise(net, z):
    """Decode one embedding with the plain cell; return its rows and the hyper cell's state after each."""
    centred = net.config.start == "centre"
    state = net.decoder.initial_state(z[None])
    row, point, rows, states = torch.tensor(LIFTED_START if centred else START), torch.zeros(2), [], []
    for _ in range(net.config.max_length + centred):
        place = [point * POSITION_SCALE] if net.config.position else []
        state = net.decoder.cell(torch.cat([row, *place, z])[None], state)
        output = net.decoder.head(state.h)[0]
        pi, mean_x, mean_y = output[3:].chunk(6)[:3]
        best = int(pi.argmax())
        pen = int(output[:3].argmax())
        row = torch.stack([mean_x[best], mean_y[best], *torch.nn.functional.one_hot(torch.tensor(pen), 3)])
        if pen == 2:
            break
        point = point + row[:2]
        rows.append(row)
        states.append(state.d[0])
    return rows, states


@pytest.mark.parametrize("variant", ["ha2017", "released"])
@pytest.mark.parametrize(("start", "position"), [("first point", False), ("centre", True)])
def test_activations_match_the_plain_cell_stepped_by_hand(start, position, variant):
    torch.manual_seed(3)
    net = SketchEmbedNet(ModelConfig(**TINY, start=start, position=position, variant=variant), 5.0).eval()
    # Large weights make the drawings end at different lengths.
    torch.nn.init.normal_(net.decoder.head.weight, std=1.0)
    z = torch.randn(9, 12) * 2
    lengths = set()
    with torch.no_grad():
        for one, found in zip(z, trace(net, z), strict=True):
            rows, states = decode_stepwise(net, one)
            first = start == "centre"
            expected = torch.stack(states[first:]).numpy() if states[first:] else np.zeros((0, 6))
            np.testing.assert_allclose(found.states, expected, atol=1e-5)
            moves = (
                torch.stack([row[:2] for row in rows[first:]]).numpy() if rows[first:] else np.zeros((0, 2))
            )
            np.testing.assert_allclose(np.diff(found.sketch.points, axis=0), 5 * moves, atol=1e-4)
            lengths.add(len(found.states))
    assert len(lengths) > 2


def test_decoder_without_hyper_network_raises():
    net = SketchEmbedNet(ModelConfig(**TINY, decoder="lstm"))
    with pytest.raises(CheckpointError, match="decoder is an lstm; expected a HyperLSTM"):
        trace(net, torch.zeros(1, 12))


def test_half_core_radius_makes_half_of_the_steps_core_points():
    codes = np.random.default_rng(0).normal(size=(201, 5))
    for count in (1, 2, 5):
        near = (cdist(codes, codes) <= half_core_radius(codes, count) + 1e-12).sum(axis=1)
        assert np.mean(near >= count) == pytest.approx(1 if count == 1 else 0.5, abs=0.01)
    assert half_core_radius(codes[:3], 5) > 0


def test_clusters_are_numbered_by_drawing_frequency():
    parts = [np.array([0, 0, 0, 1, 2, -1]), np.array([1, 1, 2]), np.array([], dtype=int), np.array([2, 2])]
    seen = [np.ones(6, bool), np.array([True, True, False]), np.ones(0, bool), np.array([True, False])]
    # Cluster 1 is visible in two drawings (three segments), 2 in two (two segments), 0 in one.
    assert [labels.tolist() for labels in number_by_frequency(parts, seen)] == [
        [2, 2, 2, 0, 1, -1],
        [0, 0, 1],
        [],
        [1, 1],
    ]
    assert number_by_frequency([np.array([-1, -1])], [np.ones(2, bool)])[0].tolist() == [-1, -1]


# ---- the part of the report -----------------------------------------------------------------------------


@pytest.fixture
def context(tmp_path):
    torch.manual_seed(0)
    net = SketchEmbedNet(ModelConfig(**TINY), 20.0)
    # Drawings of many lengths, with occasional pen lifts.
    torch.nn.init.normal_(net.decoder.head.weight, std=1.0)
    net.decoder.head.bias.data[1] = 0.3
    net.mean.weight.data *= 30
    made = EvaluationContext(str(save(net, tmp_path / "model.safetensors")), vae="none", accelerator="cpu")
    store = generate.prepare(tmp_path / "doodles", per_class=6, max_length=64)
    made.pictures = Pictures(store, store.class_names[:-3], store.class_names[-3:])
    return made


def test_segment_counts_add_up_and_labels_match_dbscan(context):
    part = clusters(context, eps=0.13, min_samples=3, drawings=18, rows=18, columns=2)
    pools = {name: context.pictures.select_up_to(name, 18) for name in context.pictures.unseen}
    indices = [index for _, index in choose_balanced(pools, 18, seed=0)]
    assert len(indices) == 18
    z = context.embed(context.model, context.pictures.images(indices))
    drawn = context.decode(z)
    codes = np.concatenate([one.states for one in trace(context.net, z)])
    labels = DBSCAN(eps=0.13, min_samples=3).fit_predict(codes)
    values = {key.removeprefix("unseen/"): value for key, value in part.values.items() if "unseen" in key}
    assert values["steps"] == sum(len(sketch) - 1 for sketch in drawn) == len(codes)
    on_paper = sum(int((~sketch.lifted[:-1]).sum()) for sketch in drawn)
    assert values["segments_on_paper"] == on_paper
    assert values["clusters"] == labels.max() + 1 > 2
    assert values["noise"] == pytest.approx(np.mean(labels == -1))
    assert values["largest"] == pytest.approx(np.bincount(labels[labels >= 0]).max() / len(labels))
    assert 0 < values["noise"] < 1
    # The figure of whole drawings shows every segment on paper in its cluster's colour.
    whole = next(figure for figure in part.figures if figure.name == "figure-16-coloured-unseen")
    colours = {}
    for path in ElementTree.fromstring(whole.svg).iter(f"{SVG}path"):
        count = len(re.findall("L", path.get("d")))
        colours[path.get("stroke")] = colours.get(path.get("stroke"), 0) + count
    assert sum(colours.values()) == on_paper
    visible = np.concatenate([~sketch.lifted[:-1] for sketch in drawn])
    assert colours[NOISE] == int((visible & (labels == -1)).sum())
    sizes = sorted(np.bincount(labels[visible & (labels >= 0)], minlength=labels.max() + 1).tolist())
    shown = sorted(count for colour, count in colours.items() if colour not in (NOISE, OTHERS))
    assert len(shown) == 2
    assert set(shown) <= set(sizes)
    assert sum(shown) + colours[OTHERS] == sum(sizes)


def test_part_is_reproducible_and_replays_in_colours(context):
    options = {"eps": 0.13, "drawings": 9, "rows": 4}
    one, two = clusters(context, **options), clusters(context, **options)
    assert one == two
    (drawings,) = [drawings for drawings in one.drawings if "Unseen" in drawings.title]
    assert len(drawings.items) == 4
    for item in drawings.items:
        (sample,) = item["samples"]
        assert len(sample["strokes"]) == len(sample["colours"])
    assert any(item["samples"][0]["strokes"] for item in drawings.items)
    assert [row[0] for row in one.tables[0].rows] == ["Snowmen", "Round objects", "Unseen classes"]


def test_drawings_without_segments_are_shown_as_empty(context):
    context.net.decoder.head.bias.data[2] = 99.0
    part = clusters(context, drawings=4)
    assert part.values["unseen/steps"] == part.values["unseen/clusters"] == 0
    assert ">empty<" in part.figures[-1].svg
    assert "not used, because no drawing has a segment" in part.about


def test_part_states_the_source_of_the_radius(context):
    assert "eps 0.5 (given)" in clusters(context, eps=0.5, drawings=3).about
    part = clusters(context, drawings=6)
    assert "half of the steps are core steps (the paper's 3.9 is for 512 units)" in part.about
    torch.manual_seed(1)
    context.model.network.__init__(ModelConfig(**(TINY | {"hyper": 512})), 20.0)
    assert "eps 3.9 (the paper's)" in clusters(context, drawings=3).about


def test_invalid_options_and_missing_classes_raise(context, monkeypatch):
    with pytest.raises(ConfigError, match="eps is 0"):
        clusters(context, eps=0.0)
    with pytest.raises(ConfigError, match="min-samples is 0"):
        clusters(context, min_samples=0)
    monkeypatch.setattr(
        stroke_clusters, "SELECTIONS", (stroke_clusters.ClassSelection("a", "A", ("none",), (1, 2)),)
    )
    with pytest.raises(DataError, match="none of the classes"):
        clusters(context)


# ---- figures -------------------------------------------------------------------------------------------

CORNER = Sketch(
    np.array([[0, 0], [9, 0], [9, 9], [0, 9], [0, 5], [4, 5]], float),
    np.array([0, 0, 0, 1, 0, 1], bool),
)


def test_lines_split_at_cluster_changes_and_pen_lifts():
    lines, labels = runs(CORNER, np.array([0, 0, 1, 7, 1]))
    assert [line.tolist() for line in lines] == [
        [[0, 0], [9, 0], [9, 9]],
        [[9, 9], [0, 9]],
        [[0, 5], [4, 5]],
    ]
    assert labels == [0, 1, 1]
    assert runs(Sketch.from_strokes([]), np.zeros(0, int)) == ([], [])
    assert runs(Sketch.from_strokes([[(1, 2)]]), np.zeros(0, int)) == ([], [])


def rendered(svg):
    png = cairosvg().svg2png(bytestring=svg.encode(), scale=4)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)


def count_pixels(pixels, colour):
    wanted = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
    return int((np.abs(pixels - wanted).max(axis=2) < 12).sum())


def test_each_column_shows_one_cluster_in_its_colour():
    one = Coloured("corner", CORNER, np.array([0, 0, 1, 7, -1]))
    colours = palette([one], 2)
    # The only segment of cluster 7 is a move of the lifted pen. It is invisible and gets no colour.
    assert list(colours) == [0, 1]
    assert list(palette([one], 1)) == [0]
    svg = clusters_svg([one], colours)
    root = ElementTree.fromstring(svg)
    heads = {element.text: float(element.get("x")) for element in root.iter(f"{SVG}text")}
    assert {"whole", "noise", "0", "1", "corner"} == set(heads)
    pixels = rendered(svg)
    seen = {}
    for head in ("whole", "noise", "0", "1"):
        cell = pixels[:, int(4 * (heads[head] - 26)) : int(4 * (heads[head] + 26))]
        seen[head] = {
            name
            for name, colour in {"noise": NOISE, "0": colours[0], "1": colours[1]}.items()
            if count_pixels(cell, colour) > 20
        }
        assert (count_pixels(cell, FAINT) > 300) is (head != "whole")
    assert seen == {"whole": {"noise", "0", "1"}, "noise": {"noise"}, "0": {"0"}, "1": {"1"}}
    # Cluster 0 is twice as long as cluster 1, so it has twice the ink.
    whole = rendered(wholes_svg([one], colours))
    assert count_pixels(whole, colours[0]) / count_pixels(whole, colours[1]) == pytest.approx(2, rel=0.1)


def test_clustering_no_steps_gives_no_labels():
    assert cluster(np.zeros((0, 6), np.float32), 1.0, 5).tolist() == []
