import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from sketchembed.errors import ConfigError, DataError
from sketchembed.evaluation.pictures import Pictures
from sketchembed.evaluation.retrieval import search
from sketchembed.evaluation.retrieval.retrieval_scores import CHANCE, PIXELS
from sketchembed.evaluation.retrieval.search import retrieve


def test_nearest_neighbours_match_scikit_learn(small_context, monkeypatch):
    kept = []
    monkeypatch.setattr(search, "grid_svg", lambda rows, **_: (kept.append(rows), "<svg/>")[1])
    part = retrieve(small_context, nearest=3, queries=6, gallery=7, scores=False)
    pictures, (rows,) = small_context.pictures, kept
    searched = np.concatenate([pictures.select_up_to(name, 7) for name in pictures.classes])
    assert part.facts["gallery"] == len(searched)
    for model, first in ((small_context.models[0], 2), (small_context.models[1], 6)):
        z = small_context.embed(model, pictures.images(searched)).numpy()
        finder = NearestNeighbors(n_neighbors=4, metric="cosine", algorithm="brute").fit(z)
        for row in rows:
            (query,) = [n for n in range(len(pictures.store)) if pictures.sketches([n])[0] == row[0].content]
            away, found = finder.kneighbors(small_context.embed(model, pictures.images([query])).numpy())
            pairs = zip(away[0], searched[found[0]], strict=True)
            others = [(distance, index) for distance, index in pairs if index != query][:3]
            shown = [float(tile.label.split("\n")[-1]) for tile in row[first : first + 3]]
            assert shown == pytest.approx([1 - distance for distance, _ in others], abs=0.006)
            classes = [_class(pictures, index) for _, index in others]
            mine = [_class(pictures, query), model.name]
            listed = next(cells for cells in part.tables[0].rows if cells[:2] == mine)
            assert [cell.rsplit(" (", 1)[0] for cell in listed[2:]] == classes
            right = [name == _class(pictures, query) for name in classes]
            assert [tile.frame is not None for tile in row[first : first + 3]] == right


def _class(pictures, index):
    return pictures.store.class_names[pictures.store.labels[index]]


def test_picture_retrieves_its_own_drawing(small_context, tmp_path):
    small_context.vae = "none"
    pictures = small_context.pictures
    searched = np.concatenate([pictures.select_up_to(name, 4) for name in pictures.classes])
    chosen = searched[[5, 30]]
    for number, sketch in enumerate(pictures.sketches(chosen)):
        sketch.to_png(tmp_path / f"{number}.png", 200, width=4)
    part = retrieve(small_context, tmp_path, nearest=2, gallery=4, scores=False)
    by_pixels = [row for row in part.tables[0].rows if row[1] == PIXELS]
    assert [row[0] for row in by_pixels] == ["0", "1"]
    assert [row[2].rsplit(" (", 1)[0] for row in by_pixels] == [_class(pictures, index) for index in chosen]
    assert part.figures[0].svg.count("<image") == 2
    assert "2 images" in part.about


def test_mean_average_precision_matches_scikit_learn(small_context):
    part = retrieve(small_context, queries=1, nearest=1, gallery=1, measured=12)
    pictures = small_context.pictures
    chosen = np.concatenate([pictures.select_up_to(name, 12) for name in pictures.unseen])
    labels = pictures.store.labels[chosen]
    for kind, vectors in (
        ("pixels", (1 - pictures.images(chosen)).flatten(1).double().numpy()),
        ("sketchembednet", small_context.net.embed(pictures.images(chosen)).double().numpy()),
    ):
        close = cosine_similarity(vectors)
        scores = []
        for query in range(len(chosen)):
            others = np.arange(len(chosen)) != query
            scores.append(average_precision_score(labels[others] == labels[query], close[query][others]))
        # Embeddings of small untrained networks lie close together, so neighbours may swap ranks.
        assert part.values[f"unseen/{kind}/map"] == pytest.approx(np.mean(scores), abs=0.01)
    assert part.values["unseen/chance/precision-1"] == pytest.approx(11 / 47)
    assert part.values["unseen/pixels/map"] > part.values["unseen/chance/map"]
    assert [row[1] for row in part.tables[1].rows[:4]] == [
        *(model.name for model in small_context.models),
        PIXELS,
        CHANCE,
    ]
    assert [figure.name for figure in part.figures] == ["retrieval-nearest", "retrieval-map"]


def test_classes_without_a_second_drawing_are_omitted(small_context, tmp_path, monkeypatch):
    small_context.pictures.sketches([3])[0].to_png(tmp_path / "0.png")
    small_context.pictures = Pictures(small_context.pictures.store, [], small_context.pictures.unseen)
    part = retrieve(small_context, queries=1, nearest=1, gallery=1, measured=12)
    assert {row[0] for row in part.tables[1].rows} == {"unseen classes, held out"}
    assert part.about.count("drawings of") == 2
    assert "retrieval-map" in [figure.name for figure in part.figures]
    store = small_context.pictures.store
    small_context.pictures = Pictures(store, store.class_names, [])
    monkeypatch.setattr(store, "partitions", np.zeros(len(store), dtype=np.uint8))
    part = retrieve(small_context, tmp_path / "0.png", nearest=1, gallery=1)
    assert "omitted: no class has two drawings" in part.about
    assert len(part.tables) == 1


def test_invalid_options_raise(small_context, tmp_path):
    with pytest.raises(ConfigError, match="nearest is 0"):
        retrieve(small_context, nearest=0)
    with pytest.raises(DataError, match="no image at"):
        retrieve(small_context, tmp_path / "none.png")
