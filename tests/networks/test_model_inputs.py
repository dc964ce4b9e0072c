import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy import ndimage

import sketchembed
from sketchembed.cli import main
from sketchembed.errors import CheckpointError, DataError
from sketchembed.hub.model_files import load_network
from sketchembed.networks import ModelConfig, SketchEmbedNet, SketchEncoder
from sketchembed.networks.conv_vae import ConvVAE, ConvVAEConfig
from sketchembed.networks.model_inputs import read_drawing, read_photo
from sketchembed.raster import rasterize
from sketchembed.raster.thinning import thinned
from sketchembed.sketch import Sketch

HOUSE = [(0, 60), (0, 100), (80, 100), (80, 60), (40, 20), (0, 60), (80, 60)]


SIZES = {"width": 4, "latent": 6, "hidden": 10, "hyper": 6, "embedding": 2, "mixtures": 3, "max_length": 12}


def picture(mode="RGB", size=(300, 200), shift=(60, 40), ink="black", paper="white", width=5):
    image = Image.new(mode, size, paper)
    points = [(x + shift[0], y + shift[1]) for x, y in HOUSE]
    ImageDraw.Draw(image).line(points, fill=ink, width=width)
    return image


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    net = SketchEmbedNet(ModelConfig(**SIZES))
    return sketchembed.save(net, tmp_path_factory.mktemp("weights") / "net.safetensors")


@pytest.fixture(scope="module")
def photo_weights(tmp_path_factory):
    torch.manual_seed(1)
    net = SketchEmbedNet(ModelConfig(**SIZES, channels=3))
    return sketchembed.save(net, tmp_path_factory.mktemp("weights") / "photos.safetensors")


def photo(seed=0, size=(60, 44)):
    """Return a photo without symmetry that has few enough colours for a palette."""
    colours = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.NEAREST)


def draw_svg(path, weights, out):
    """Run ``draw`` on one image and return the SVG that it writes."""
    main(["draw", str(path), str(weights), "--out", str(out)])
    assert (out / f"{path.stem}.png").is_file()
    return (out / f"{path.stem}.svg").read_text()


def test_read_drawing_resembles_its_rasterized_strokes(tmp_path):
    picture().save(tmp_path / "house.png")
    read = read_drawing(tmp_path / "house.png", 28)
    stroke5 = torch.from_numpy(Sketch.from_strokes([np.array(HOUSE)]).to_stroke5(12))
    drawn = 1 - rasterize.draw_pen(stroke5[None])
    assert read.shape == (1, 28, 28)
    assert (read - drawn).abs().mean() < 0.06
    assert np.corrcoef(read.flatten(), drawn.flatten())[0, 1] > 0.8


@pytest.mark.parametrize("width", [1, 2, 5, 8])
def test_line_width_does_not_matter(width, tmp_path):
    picture(width=width).save(tmp_path / "house.png")
    stroke5 = torch.from_numpy(Sketch.from_strokes([np.array(HOUSE)]).to_stroke5(12))
    drawn = 1 - rasterize.draw_pen(stroke5[None])
    read = read_drawing(tmp_path / "house.png", 28)
    assert (1 - read).sum() == pytest.approx((1 - drawn).sum().item(), rel=0.3)
    assert (read - drawn).abs().mean() < 0.09


def test_dots_in_a_wide_picture_are_kept(tmp_path):
    grey = np.full((2, 60_000), 255, dtype=np.uint8)
    grey[0, 7] = grey[1, -9] = 0
    Image.fromarray(grey).save(tmp_path / "dots.png")
    read = read_drawing(tmp_path / "dots.png", 28)
    rows, columns = (read[0] < 0.9).nonzero().T
    assert len(rows)
    assert columns.min() <= 4
    assert columns.max() >= 23


def test_thinning_keeps_connected_components():
    everywhere = np.ones((3, 3), dtype=int)
    random = np.random.default_rng(0)
    for share in (0.003, 0.02, 0.1, 0.3, 0.6, 0.9):
        for wide in (False, True):
            for _ in range(40):
                ink = random.random(random.integers(1, 40, 2)) < share
                ink = ndimage.binary_dilation(ink, everywhere) if wide else ink
                thin = thinned(ink)
                parts, count = ndimage.label(ink, everywhere)
                assert len(np.unique(parts[thin])) == ndimage.label(thin, everywhere)[1] == count


def test_thinning_gives_connected_lines_one_pixel_wide():
    image = Image.new("L", (90, 90), 0)
    pen = ImageDraw.Draw(image)
    pen.ellipse((10, 10, 60, 50), outline=255, width=7)
    pen.line((20, 80, 80, 60), fill=255, width=6)
    ink = np.asarray(image) > 0
    thin = thinned(ink)
    assert not (thin & ~ink).any()
    everywhere = np.ones((3, 3))
    assert ndimage.label(thin, everywhere)[1] == ndimage.label(ink, everywhere)[1] == 2
    assert ndimage.label(~thin)[1] == ndimage.label(~ink)[1] == 2  # the ring is still closed
    block = thin[:-1, :-1] & thin[1:, :-1] & thin[:-1, 1:] & thin[1:, 1:]
    assert block.sum() <= 1
    assert 1.5 < ndimage.distance_transform_edt(~thin)[ink].max() < 5


@pytest.mark.parametrize(
    "other",
    [
        picture(size=(900, 900), shift=(700, 700)),
        picture(ink="white", paper="black"),
        picture("L", ink=0, paper=255),
        picture("RGBA", ink=(0, 0, 0, 255), paper=(0, 0, 0, 0)),
        picture().convert("P"),
        picture().convert("CMYK"),
        picture().convert("1"),
    ],
    ids=["elsewhere", "inverted", "grey", "transparent", "palette", "cmyk", "bilevel"],
)
def test_position_mode_and_colours_do_not_matter(other, tmp_path):
    picture().save(tmp_path / "one.png")
    other.save(tmp_path / "other.tif")
    one, two = read_drawing(tmp_path / "one.png", 28), read_drawing(tmp_path / "other.tif", 28)
    assert (one - two).abs().max() < 0.05


def test_exif_orientation_is_applied(tmp_path):
    turned = picture().rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # displayed after a rotation by 270 degrees
    turned.save(tmp_path / "turned.png", exif=exif)
    picture().save(tmp_path / "one.png")
    one, two = read_drawing(tmp_path / "one.png", 28), read_drawing(tmp_path / "turned.png", 28)
    assert (one - two).abs().mean() < 0.02


@pytest.mark.parametrize("content", [b"", b"<html></html>", b"\x89PNG\r\n\x1a\n1234"])
def test_invalid_image_file_gives_a_clear_error(content, tmp_path):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.png cannot be read as an image"):
        read_drawing(tmp_path / "x.png", 28)


def test_blank_image_raises(tmp_path):
    Image.new("L", (40, 40), 255).save(tmp_path / "blank.png")
    with pytest.raises(DataError, match="is blank"):
        read_drawing(tmp_path / "blank.png", 28)


def test_draw_writes_svg_and_png_for_a_folder(tmp_path, weights, capsys):
    (tmp_path / "in").mkdir()
    picture().save(tmp_path / "in" / "a.png")
    picture().save(tmp_path / "in" / "b.jpg")
    out = tmp_path / "out"
    main(
        [
            "draw",
            str(tmp_path / "in"),
            str(weights),
            "--out",
            str(out),
            "--samples",
            "2",
            "--temperature",
            "0.5",
        ]
    )
    names = sorted(path.name for path in out.iterdir())
    assert names == sorted(f"{stem}-{n}.{kind}" for stem in "ab" for n in (1, 2) for kind in ("png", "svg"))
    assert len(capsys.readouterr().out.splitlines()) == 8
    assert Image.open(io.BytesIO((out / "a-1.png").read_bytes())).size == (256, 256)
    assert (out / "a-1.svg").read_text().startswith("<svg")


def test_missing_images_or_checkpoint_give_a_clear_error(tmp_path, weights, capsys):
    for arguments, says in (
        ([str(tmp_path / "none"), str(weights)], "there is no image at"),
        ([str(tmp_path), str(weights)], "there is no image at"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["draw", *arguments])
        assert caught.value.code == 2
        assert says in capsys.readouterr().err
    picture().save(tmp_path / "a.png")
    with pytest.raises(SystemExit):
        main(["draw", str(tmp_path / "a.png"), str(tmp_path / "none.ckpt")])
    assert "there is no checkpoint" in capsys.readouterr().err


def test_exported_weights_load(tmp_path, weights, capsys):
    main(["export", str(weights), str(tmp_path / "half.safetensors"), "--dtype", "float16"])
    assert sketchembed.load(tmp_path / "half.safetensors").config == sketchembed.load(weights).config


def test_encoder_is_exported_without_the_decoder(tmp_path, weights):
    main(["export", str(weights), str(tmp_path / "half.safetensors"), "--encoder", "true"])
    half, whole = load_network(tmp_path / "half.safetensors"), sketchembed.load(weights)
    assert isinstance(half, SketchEncoder)
    assert set(half.state_dict()) == {name for name in whole.state_dict() if not name.startswith("decoder.")}
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(half.embed(images), whole.embed(images), rtol=0, atol=0)
    with pytest.raises(CheckpointError, match="is a sketch-encoder, which cannot draw"):
        sketchembed.load(tmp_path / "half.safetensors")


def test_baselines_are_exported(tmp_path):
    baseline = ConvVAE(ConvVAEConfig(width=4, latent=6))
    sketchembed.save(baseline, tmp_path / "vae.safetensors")
    main(
        [
            "export",
            str(tmp_path / "vae.safetensors"),
            str(tmp_path / "half.safetensors"),
            "--dtype",
            "float16",
        ]
    )
    loaded = load_network(tmp_path / "half.safetensors")
    assert isinstance(loaded, ConvVAE)
    assert loaded.config == baseline.config


def test_photo_models_get_the_whole_photo_padded_with_black(tmp_path, photo_weights):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    given = np.zeros((28, 28, 3), dtype=np.float32)
    given[4:24] = pixels / np.float32(255)
    images = torch.from_numpy(given).permute(2, 0, 1)
    torch.testing.assert_close(read_photo(tmp_path / "a.png", 28), images, rtol=0, atol=1e-6)
    (expected,) = sketchembed.load(photo_weights).draw(images[None], temperature=0.0, seed=0)
    assert draw_svg(tmp_path / "a.png", photo_weights, tmp_path / "out") == expected.to_svg(256)


def turned(pixels):
    """Apply EXIF orientation 6: row 0 of the file is the right side, column 0 the top."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return pixels, Image.fromarray(np.ascontiguousarray(pixels.swapaxes(0, 1)[::-1])), {"exif": exif}


def transparent(pixels):
    clear = (pixels == pixels[0, 0]).all(-1)
    picture = Image.fromarray(np.dstack([pixels, np.where(clear, 0, 255).astype(np.uint8)]))
    return np.where(clear[..., None], np.uint8(255), pixels), picture, {}


def palette(pixels):
    colours, places = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    picture = Image.fromarray(places.reshape(pixels.shape[:2]).astype(np.uint8), "P")
    picture.putpalette(colours.tobytes())
    return pixels, picture, {}


def grey(pixels):
    return np.repeat(pixels[..., :1], 3, axis=-1), Image.fromarray(pixels[..., 0].copy()), {}


def cmyk(pixels):
    ink = np.dstack([255 - pixels, np.zeros(pixels.shape[:2], dtype=np.uint8)])
    return pixels, Image.fromarray(ink, "CMYK"), {}


@pytest.mark.parametrize(
    ("stored", "suffix"),
    [(turned, "png"), (turned, "tif"), (transparent, "png"), (palette, "gif"), (grey, "bmp"), (cmyk, "tif")],
)
def test_file_format_of_a_photo_does_not_matter(stored, suffix, tmp_path, photo_weights):
    upright, picture, settings = stored(np.asarray(photo()))
    Image.fromarray(upright).save(tmp_path / "one.png")
    picture.save(tmp_path / f"other.{suffix}", **settings)
    photo(1).save(tmp_path / "another.png")
    one, other = read_photo(tmp_path / "one.png", 28), read_photo(tmp_path / f"other.{suffix}", 28)
    torch.testing.assert_close(one, other, rtol=0, atol=1.01 / 255)
    drawings = [
        draw_svg(tmp_path / name, photo_weights, tmp_path / "out")
        for name in ("one.png", f"other.{suffix}", "another.png")
    ]
    assert drawings[0] == drawings[1] != drawings[2]


def test_photos_of_any_shape_are_drawn_in_one_call(tmp_path, photo_weights, capsys):
    (tmp_path / "in").mkdir()
    for number, size in enumerate([(1, 1), (300, 2), (90, 250)]):
        photo(number, size).save(tmp_path / "in" / f"{number}.jpg")
    main(["draw", str(tmp_path / "in"), str(photo_weights), "--out", str(tmp_path / "out")])
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"{number}.{kind}" for number in range(3) for kind in ("png", "svg")]
