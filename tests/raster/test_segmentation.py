"""Photographed drawings. The expected ink is that of the clean drawing, moved as the sheet in the photo."""

import contextlib

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from sketchembed.errors import DataError
from sketchembed.networks.model_inputs import read_image
from sketchembed.raster import segmentation

HEIGHT, WIDTH = 360, 480


def sheet(points, width=5):
    """Return a clean drawing on a sheet."""
    image = Image.new("L", (WIDTH, HEIGHT), 255)
    ImageDraw.Draw(image).line(points, fill=0, width=width, joint="curve")
    return image


HOUSE = [(150, 280), (150, 150), (240, 80), (330, 150), (330, 280), (150, 280), (330, 150), (150, 150)]
ZIGZAG = [(120, 100), (350, 120), (130, 190), (360, 210), (140, 280), (300, 290)]
DRAWINGS = {"house": sheet(HOUSE), "zigzag": sheet(ZIGZAG, 3)}


def photographed(clean, seed, border=True):
    """Return a photo of a sheet, and the drawing as it lies in the photo, black on white."""
    random = np.random.default_rng(seed)
    angle = random.uniform(-8, 8)
    drawing = clean.rotate(angle, Image.Resampling.BICUBIC, fillcolor=255)
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    direction = random.uniform(0, 2 * np.pi)
    light = 0.78 + 0.17 * (np.cos(direction) * x + np.sin(direction) * y) - 0.1 * (x**2 + y**2)
    ink = 1 - np.asarray(drawing, dtype=np.float64) / 255
    values = light * (1 - 0.75 * ink)
    if border:
        inside = Image.new("L", clean.size, 0)
        inside.paste(255, (14, 14, WIDTH - 14, HEIGHT - 14))
        inside = inside.rotate(angle, Image.Resampling.BICUBIC, fillcolor=0)
        values = np.where(np.asarray(inside) > 127, values, 0.15)
    values = values + random.normal(0, 0.025, values.shape)
    photo = Image.fromarray((values.clip(0, 1) * 255).astype(np.uint8))
    return photo.filter(ImageFilter.GaussianBlur(0.7)), drawing


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize("border", [True, False])
@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.parametrize("seed", range(3))
def test_ink_of_a_photographed_drawing_is_found(name, border, seed):
    photo, drawing = photographed(DRAWINGS[name], seed, border)
    found = segmentation.photographed_ink(np.asarray(photo), "a", "b")
    ink = np.asarray(drawing.resize(found.shape[::-1], Image.Resampling.BOX)) < 128
    assert iou(found, ink) > 0.6
    read, expected = (read_image(image)[0].numpy() < 0.5 for image in (photo, drawing))
    assert iou(read, expected) > 0.5


def test_light_lines_on_a_dark_board_are_found():
    photo, drawing = photographed(DRAWINGS["house"], 0, border=False)
    board = Image.fromarray(255 - np.asarray(photo))
    read, expected = (read_image(image)[0].numpy() < 0.5 for image in (board, drawing))
    assert iou(read, expected) > 0.5


def test_dark_border_alone_is_removed():
    image = sheet(HOUSE)
    clean = read_image(image)
    ImageDraw.Draw(image).rectangle((0, 0, WIDTH - 1, HEIGHT - 1), outline=30, width=24)
    assert iou(read_image(image)[0].numpy() < 0.5, clean[0].numpy() < 0.5) > 0.7


def texture(seed):
    """Return noise with the spectrum of natural images."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None])
    frequency[0, 0] = 1
    spectrum = np.exp(2j * np.pi * random.random(frequency.shape)) / frequency
    values = np.fft.irfft2(spectrum, (HEIGHT, WIDTH))
    return Image.fromarray((255 * (values - values.min()) / np.ptp(values)).astype(np.uint8))


@pytest.mark.parametrize("seed", range(4))
def test_pictures_without_a_drawing_are_rejected_with_the_reason(seed):
    noise = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (200, 200), dtype=np.uint8))
    blank, _ = photographed(Image.new("L", (WIDTH, HEIGHT), 255), seed)
    for image in (texture(seed), noise, blank):
        with pytest.raises(DataError, match="the image (is a photo|has no lines|has no sheet)"):
            read_image(image)


@pytest.mark.parametrize("size", [(20, 20000), (20000, 20), (16, 16), (17, 40)])
def test_noise_of_any_shape_is_read_or_rejected(size):
    noise = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    with contextlib.suppress(DataError):
        assert read_image(noise).shape == (1, 28, 28)


def test_even_pictures_use_one_threshold(monkeypatch):
    """Clean pictures, also inverted, as JPEG, on grey paper or with filled shapes, are read as before."""

    def refuse(*_):
        raise AssertionError("a clean picture was taken for a photograph")

    monkeypatch.setattr(segmentation, "photographed_ink", refuse)
    filled = sheet(HOUSE, 9)
    ImageDraw.Draw(filled).ellipse((180, 180, 300, 260), fill=90)
    frame = sheet([(2, 2), (477, 2), (477, 357), (2, 357), (2, 2)], 5)
    for image in (*DRAWINGS.values(), filled, frame, sheet(HOUSE, 1).resize((28, 28)), sheet(HOUSE, 40)):
        grey = np.asarray(image)
        noisy = grey + np.random.default_rng(0).normal(0, 0.8, grey.shape)
        for given in (grey, 255 - grey, grey // 2 + 100, noisy.clip(0, 255).astype(np.uint8)):
            segmentation.ink_of(given, "a", "b")
