import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from sketchembed.cli import main
from sketchembed.data.sources.omniglot import vinyals_split
from sketchembed.data.sources.splits import photo_partition
from sketchembed.errors import ConfigError
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.evaluation.generation.generation_inputs import choose_balanced, gather
from sketchembed.evaluation.generation.one_shot import one_shot, similarity
from sketchembed.evaluation.pictures import sketch_images
from sketchembed.hub.model_files import save
from sketchembed.networks import ModelConfig, SketchEmbedNet
from sketchembed.sketch import Sketch


def same_picture(one, other):
    """Return whether two SVG files show the same picture, up to the rounding errors of a batch."""
    drawn = [sketch_images([Sketch.from_svg(file)], 56) for file in (one, other)]
    return bool((drawn[0] - drawn[1]).abs().max() < 0.01)


@pytest.mark.data
def test_draw_command_varies_only_above_temperature_0(real_data, small_networks, tmp_path, capsys):
    character = next(name for name in vinyals_split()["test"] if name.startswith("Tengwar"))
    with zipfile.ZipFile(real_data / "omniglot" / "images_evaluation.zip") as archive:
        entry = next(name for name in archive.namelist() if f"{character}/" in name and name.endswith(".png"))
        (tmp_path / "given.png").write_bytes(archive.read(entry))
    given = [str(tmp_path / "given.png"), str(small_networks[0]), "--samples", "2"]
    for temperature, folder in (("0", "a"), ("0", "b"), ("0.5", "c"), ("0.5", "d")):
        main(["draw", *given, "--out", str(tmp_path / folder), "--temperature", temperature])
    files = {folder: [tmp_path / folder / f"given-{n}.svg" for n in (1, 2)] for folder in "abcd"}
    assert all(len(Sketch.from_svg(file)) > 1 for folder in "ab" for file in files[folder])
    # At temperature 0, both samples and a repeated call give the same drawing.
    assert same_picture(*files["a"])
    assert same_picture(files["a"][0], files["b"][1])
    # At 0.5, the samples differ, and a repeated call with the same seed gives the same samples.
    assert not same_picture(*files["c"])
    assert not same_picture(files["c"][0], files["a"][0])
    assert same_picture(files["c"][1], files["d"][1])


def test_balanced_choice_spreads_over_the_classes():
    pools = {"a": np.arange(5), "b": np.arange(10, 12), "c": np.arange(0)}
    chosen = choose_balanced(pools, 5, seed=0)
    assert sorted(name for name, _ in chosen) == ["a", "a", "a", "b", "b"]
    assert {name for name, _ in chosen[:2]} == {"a", "b"}
    assert all(index in pools[name] for name, index in chosen)
    assert len(set(chosen)) == 5
    assert len(choose_balanced(pools, 100, seed=0)) == 7
    assert chosen == choose_balanced(pools, 5, seed=0)
    assert any(chosen != choose_balanced(pools, 5, seed=seed) for seed in range(1, 4))


def test_similarity_is_the_correlation_of_blurred_ink():
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    others = (images + torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(1))) / 2
    blurred = [
        [gaussian_filter(1 - image[0].numpy(), 1, mode="constant").ravel() for image in batch]
        for batch in (images, others)
    ]
    expected = [np.corrcoef(one, other)[0, 1] for one, other in zip(*blurred, strict=True)]
    np.testing.assert_allclose(similarity(images, others), expected, atol=1e-4)
    assert similarity(images[:1], torch.ones(1, 1, 28, 28)) == 0


def test_samples_vary_above_temperature_0_and_show_their_input(small_context, tmp_path):
    small_context.folder = str(tmp_path)
    part = one_shot(small_context, temperatures=[0.0, 0.5], samples=3, shown=3, measured=5)
    assert [figure.name for figure in part.figures] == ["figure-3-quickdraw"]
    assert "Characters are omitted: there is no" in part.about
    assert "Photos are omitted: the model takes drawings." in part.about
    (drawings,) = part.drawings
    assert [item["seen"] for item in drawings.items] == [True] * 3 + [False] * 3
    for item in drawings.items:
        assert [sample["temperature"] for sample in item["samples"]] == [0, 0.5, 0.5, 0.5]
        assert len({str(sample["strokes"]) for sample in item["samples"][1:]}) > 1
        assert item["class"] in (
            small_context.pictures.seen if item["seen"] else small_context.pictures.unseen
        )
    # The six images are the Conv-VAE's, one for each input. The inputs themselves are drawn as strokes.
    assert part.figures[0].svg.count("<image") == 6
    again = one_shot(small_context, temperatures=[0.0, 0.5], samples=3, shown=3, measured=5)
    assert again.drawings == part.drawings
    assert again.values == part.values
    assert part.values["seen/temperature-0/points"] > 1


def test_inputs_of_seen_classes_are_held_out(small_context, tmp_path):
    small_context.folder = str(tmp_path)
    (seen, unseen), _ = gather(small_context, 2, 40)
    pictures = small_context.pictures
    kept = [pictures.select_up_to(name, 99, held_out=True) for name in pictures.seen]
    images = pictures.images(np.concatenate(kept))
    for image in seen.images:
        assert (images - image).abs().amax(dim=(1, 2, 3)).min() == 0
    assert len(seen) == min(40, 2 * len(pictures.seen))
    assert len(unseen) == 40
    assert len(seen.strokes) == 2


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(900)  # the first test that needs Omniglot reads all of it
def test_characters_are_shown_with_their_strokes(real_data, small_networks, monkeypatch, small_context):
    small_context.folder = str(real_data)
    kinds, _ = gather(small_context, 6, 12)
    characters = kinds[2]
    assert len(characters) == 12
    names = {name.replace("/character", "").replace("_", "") for name in vinyals_split()["test"]}
    assert {
        name.replace("\n", "").replace("character ", "").replace(" ", "") for name in characters.names
    } <= names
    known = [at for at, sketch in enumerate(characters.strokes) if sketch is not None]
    assert known
    drawn = sketch_images([characters.strokes[at] for at in known])
    assert (drawn - characters.images[known]).abs().max() < 0.01


def test_photo_model_draws_photos(tmp_path):
    torch.manual_seed(5)
    config = ModelConfig(
        width=4,
        pool="mean",
        channels=3,
        image_size=84,
        latent=6,
        hidden=8,
        hyper=4,
        embedding=2,
        mixtures=2,
        max_length=8,
    )
    checkpoint = save(SketchEmbedNet(config), tmp_path / "photos.safetensors")
    random = np.random.default_rng(0)
    for label in ("n01", "n02"):
        folder = tmp_path / "data" / "mini_imagenet" / "test" / label
        folder.mkdir(parents=True)
        for number in range(2):
            out = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (84, 84, 3), dtype=np.uint8)).save(out, "PNG")
            (folder / f"{label}{number:04d}.png").write_bytes(out.getvalue())
    context = EvaluationContext(str(checkpoint), vae="none", folder=str(tmp_path / "data"))
    part = one_shot(context, temperatures=[0.5], samples=2, shown=3, measured=3)
    assert [figure.name for figure in part.figures] == ["figure-4-mini-imagenet"]
    assert part.figures[0].svg.count("<image") == 3
    assert "Drawings are omitted: the model takes photos." in part.about
    assert "Photos of Sketchy are omitted: " in part.about
    assert part.tables[0].rows[0][2] is None
    assert not part.drawings
    # With Sketchy present, its held-out photos are shown next to a person's sketch of each.
    for label in ("axe", "bee"):
        for number in range(20):
            name = f"n02000000_{number}"
            for kind in ("photo", "sketches"):
                (tmp_path / "data" / "sketchy" / kind / label).mkdir(parents=True, exist_ok=True)
            out.seek(0)
            (tmp_path / "data" / "sketchy" / "photo" / label / f"{name}.png").write_bytes(out.getvalue())
            for sketch in (1, 2):
                svg = f'<svg><path d="M 0 0 L {number + 5} 90 L 50 {sketch}"/></svg>'
                path = tmp_path / "data" / "sketchy" / "sketches" / label / f"{name}-{sketch}.svg"
                path.write_text(svg)
    kinds, _ = gather(context, 2, 3)
    assert [(kind.key, kind.seen) for kind in kinds] == [
        ("sketchy", True),
        ("sketchy-unseen", False),
        ("photos", False),
    ]
    seen, unseen, _ = kinds
    assert (set(seen.names), set(unseen.names)) == ({"axe"}, {"bee"})
    # Each photo has one sketch, and no training photo is included.
    numbers = [int(person.points[1, 0] - person.points[0, 0]) - 5 for person in seen.people]
    assert len(set(numbers)) == len(numbers) == 2
    assert all(photo_partition(f"n02000000_{number}") > 0 for number in numbers)
    part = one_shot(context, temperatures=[0.5], samples=2, shown=2, measured=2)
    assert [figure.name for figure in part.figures] == ["figure-4-sketchy", "figure-4-mini-imagenet"]
    assert part.figures[0].svg.count("<image") == 4
    assert "a person" in part.figures[0].svg
    assert "a person" not in part.figures[1].svg


def test_invalid_options_raise(small_context):
    with pytest.raises(ConfigError, match="samples 0"):
        one_shot(small_context, samples=0)
    with pytest.raises(ConfigError, match=r"temperatures is \[-1.0\]"):
        one_shot(small_context, temperatures=[-1.0])
