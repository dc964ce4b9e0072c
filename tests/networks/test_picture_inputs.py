"""Networks embed and draw ordinary images: paths, PIL images, arrays, tensors, and lists of these."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import sketchembed
from sketchembed.errors import ConfigError, SketchEmbedError
from sketchembed.networks import ModelConfig, SketchEmbedNet
from sketchembed.networks.model_inputs import as_batch, image_files, read_drawing, read_image, read_photo

SIZES = {"width": 4, "latent": 6, "hidden": 10, "hyper": 6, "embedding": 2, "mixtures": 3, "max_length": 12}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return SketchEmbedNet(ModelConfig(**SIZES)).eval()


@pytest.fixture(scope="module")
def photo_net():
    torch.manual_seed(1)
    return SketchEmbedNet(ModelConfig(**SIZES, channels=3)).eval()


def drawing(mode="RGB", size=(120, 90)):
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).line([(20, 70), (20, 30), (60, 10), (100, 30), (100, 70), (20, 70)], "black", 4)
    return image.convert(mode)


def forms(image):
    """Return one picture as everything that `embed` accepts."""
    pixels = np.array(image)
    tensor = torch.from_numpy(pixels)
    first = tensor.movedim(2, 0)
    return {
        "PIL": image,
        "grey PIL": image.convert("L"),
        "RGBA": image.convert("RGBA"),
        "palette": image.convert("P"),
        "array": pixels,
        "grey array": pixels[..., 0],
        "grey array with a channel": pixels[..., :1],
        "channels first": pixels.transpose(2, 0, 1),
        "float array": pixels / 255,
        "half array": (pixels / 255).astype(np.float16),
        "negative strides": np.flip(np.flip(pixels, 1).copy(), 1),
        "tensor": first,
        "channels last": tensor,
        "float tensor": first / 255,
        "tensor with gradient": (first / 255).requires_grad_(),
        "bool": pixels[..., 0] > 127,
    }


@pytest.mark.parametrize("form", forms(drawing()))
def test_every_form_of_a_drawing_equals_its_file(form, net, tmp_path):
    image = drawing("1")  # without grey levels, so that all forms have the same pixels
    image.save(tmp_path / "a.png")
    expected = net.embed(read_drawing(tmp_path / "a.png", 28)[None])
    assert torch.equal(net.embed(forms(image.convert("RGB"))[form]), expected)
    assert torch.equal(net.embed([tmp_path / "a.png"]), expected)
    assert torch.equal(net.embed(str(tmp_path / "a.png")), expected)


def test_photo_networks_read_the_same_forms_as_photos(photo_net, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = read_photo(tmp_path / "a.png", 28)
    for form in (Image.fromarray(pixels), pixels, pixels.transpose(2, 0, 1), torch.from_numpy(pixels / 255)):
        assert torch.equal(photo_net.inputs(form)[0], expected)
    grey = photo_net.inputs(pixels[..., 0])[0]
    assert torch.equal(grey[0], grey[2])


def test_tensor_of_the_input_shape_is_used_as_it_is(net):
    images = torch.rand(5, 1, 28, 28)
    assert net.inputs(images) is images
    expected = net.encode(images).mean
    assert torch.equal(net.embed(images), expected)
    for same in (images.numpy(), images.double(), images.movedim(1, 3).numpy(), list(images), iter(images)):
        torch.testing.assert_close(net.embed(same), expected, rtol=0, atol=1e-6)
    assert net.draw(images) == net.draw(images.numpy())
    bytes_ = (images * 255).round().byte()
    assert torch.equal(net.embed(bytes_), net.embed(bytes_.float() / 255))
    assert torch.equal(net.embed(images[0, 0].numpy()), net.embed(images[:1]))


def test_lists_may_mix_forms_and_sizes(net, tmp_path):
    drawing().save(tmp_path / "a.png")
    mixed = [tmp_path / "a.png", str(tmp_path / "a.png"), drawing(), np.array(drawing("L", (200, 150)))]
    assert net.embed(mixed).shape == (4, 6)
    assert len(net.draw(mixed)) == 4
    names = np.array([str(tmp_path / "a.png")] * 2)
    assert torch.equal(net.embed(names), net.embed(mixed[:2]))


def test_other_sizes_are_read_as_pictures(net):
    large = np.full((64, 64), 255, dtype=np.uint8)
    large[20:40, 30] = 0
    assert torch.equal(net.inputs(torch.from_numpy(large)[None, None]), net.inputs(Image.fromarray(large)))


def test_reading_an_image_leaves_it_unchanged(net):
    image = drawing("RGBA")
    before = image.tobytes()
    read_image(image)
    assert image.tobytes() == before
    assert image.mode == "RGBA"


def film(frames):
    out = io.BytesIO()
    images = [Image.new("L", (20, 20), at % 255) for at in range(frames)]
    images[0].save(out, "GIF", save_all=True, append_images=images[1:], duration=40)
    return out.getvalue()


def hostile(folder):
    (folder / "film.gif").write_bytes(film(500))
    (folder / "text.png").write_text("no picture")
    (folder / "empty.png").touch()
    lined = np.zeros((1, 1, 28, 28), dtype=np.float32)
    cut = io.BytesIO()
    Image.effect_noise((99, 99), 90).save(cut, "PNG")
    return {
        "no file": (folder / "none.png", "No such file"),
        "directory": (folder, "it is a folder"),
        "text file": (folder / "text.png", "cannot be read as an image"),
        "empty file": (folder / "empty.png", "it is empty"),
        "film": (folder / "film.gif", "an animation of 500 frames"),
        "opened film": (Image.open(folder / "film.gif"), "an animation of 500 frames"),
        "truncated PIL image": (Image.open(io.BytesIO(cut.getvalue()[:4000])), "cannot be read as an image"),
        "float PIL image": (Image.new("F", (40, 40)), "32-bit"),
        "nothing": (None, "of type NoneType"),
        "number": (3.5, "of type float"),
        "empty list": ([], "no images"),
        "empty batch": (torch.zeros(0, 1, 28, 28), "no images"),
        "no pixels": (np.zeros((0, 28)), r"shape \[0, 28\]"),
        "NaN": (torch.full((1, 1, 28, 28), torch.nan), "not finite"),
        "infinity": (np.full((28, 28), np.inf), "not finite"),
        "0 to 255": (lined + 255.0, "from 255 to 255.*pass uint8"),
        "below 0": (torch.from_numpy(lined - 1), "from -1 to -1"),
        "integers": (lined.astype(np.int64), "type int64"),
        "complex": (torch.zeros(1, 1, 28, 28, dtype=torch.complex64), "complex64"),
        "meta tensor": (torch.zeros(1, 1, 28, 28, device="meta"), "on meta"),
        "five colours": (np.zeros((40, 40, 5)), r"shape \[40, 40, 5\]"),
        "five dimensions": (lined[None], r"shape \[1, 1, 1, 28, 28\]"),
        "list of batches": ([lined], r"image 0 has the shape \[1, 1, 28, 28\]"),
        "nested list": ([[0.0, 1.0]], "image 0 is of type list"),
        "dictionary": ({"a": 1}, "of type dict"),
        "blank": (Image.new("L", (40, 40), 255), "is blank"),
        "bytes": (np.array([b"a.png"]), r"type \|S5"),
    }


def test_hostile_images_give_one_clear_sentence(net, tmp_path):
    for name, (image, says) in hostile(tmp_path).items():
        for use in (net.embed, net.draw):
            with pytest.raises(SketchEmbedError, match=says) as caught:
                use(image)
            assert "\n" not in str(caught.value), name
            assert "; expected " in str(caught.value), name


@pytest.mark.parametrize("temperature", [-1, float("nan"), float("inf")])
def test_temperature_must_not_be_negative(temperature, net):
    with pytest.raises(ConfigError, match="the temperature is"):
        net.draw(torch.rand(1, 1, 28, 28), temperature)


def folder_of(tmp_path, bad=True):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for at in range(5):
        image = drawing(size=(120 + 8 * at, 90))
        image.save(tmp_path / "in" / ("sub" if at > 2 else "") / f"{at}.png")
    if bad:
        (tmp_path / "in" / "1b.png").write_bytes(b"no picture")
    return image_files(tmp_path / "in", recursive=True)


def test_embed_files_skips_bad_files_and_reports_progress(net, tmp_path):
    files = folder_of(tmp_path)
    seen = []
    found = net.embed_files(map(str, files), batch_size=2, progress=lambda *done: seen.append(done))
    assert seen == [(2, 6), (4, 6), (6, 6)]
    assert [path.name for path in found.files] == ["0.png", "1.png", "2.png", "3.png", "4.png"]
    assert [path.name for path in found.skipped] == ["1b.png"]
    assert "cannot be read as an image" in found.skipped[tmp_path / "in" / "1b.png"]
    torch.testing.assert_close(found.z, net.embed(found.files), rtol=1e-5, atol=1e-6)
    assert repr(found) == "EmbeddedFiles(5 files, 1 skipped)"


def test_draw_files_equals_draw(net, tmp_path):
    files = folder_of(tmp_path)
    found = net.draw_files(files, batch_size=4)
    assert len(found.skipped) == 1
    assert [path.name for path in found.files] == [f"{at}.png" for at in range(5)]
    assert [len(sketch) for sketch in found.sketches] == [len(sketch) for sketch in net.draw(found.files)]
    one, other = (net.draw_files(files, 1.0, seed=seed, batch_size=2).sketches for seed in (1, 1))
    assert one == other
    assert one != net.draw_files(files, 1.0, seed=2, batch_size=2).sketches


def test_only_bad_files_give_an_empty_result(net, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no")
    for found in (net.embed_files([tmp_path / "a.png"]), net.draw_files([tmp_path / "a.png", tmp_path])):
        assert found.files == []
        assert Path(tmp_path / "a.png") in found.skipped
    assert net.embed_files([]).z.shape[0] == 0


def test_folders_are_listed_recursively_on_request(tmp_path):
    folder_of(tmp_path, bad=False)
    assert len(image_files(tmp_path / "in")) == 3
    assert len(image_files(tmp_path / "in", recursive=True)) == 5


def test_batch_has_the_network_shape():
    assert as_batch([drawing(), np.zeros((84, 84, 3))], 84, 3).shape == (2, 3, 84, 84)
    assert sketchembed.read_image(drawing()).shape == (1, 28, 28)
