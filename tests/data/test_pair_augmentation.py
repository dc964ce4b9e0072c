import colorsys

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from sketchembed.data.augmentation import PairAugmentation, transform_photos
from sketchembed.raster import rasterize
from sketchembed.sketch import Sketch

FIELD = np.array([[0, 0], [40, 0], [40, 20], [10, 30], [0, 0]])
CORNERS = Sketch.from_strokes([FIELD, np.array([[30, 10], [35, 12]])])


def photo_of(stroke5, size=84):
    """Return photos of drawings, centred by their bounding boxes: dark lines on white."""
    return (1 - rasterize.draw_pen(stroke5, size)).unsqueeze(1).expand(-1, 3, -1, -1)


def batch(count=6):
    rows = torch.from_numpy(CORNERS.to_stroke5(12))
    return rows.expand(count, -1, -1).clone()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_defaults_change_nothing():
    rows = batch()
    photo = photo_of(rows)
    got, strokes = PairAugmentation()(photo, rows, seeded())
    assert got.equal(photo)
    assert strokes.equal(rows)


@pytest.mark.parametrize("options", [{"flip": 1.0}, {"rotation": 25.0}, {"flip": 0.5, "rotation": 180.0}])
def test_photo_and_drawing_move_together(options):
    """The photo shows the drawing. After the augmentation it must still be dark where the drawing has ink."""
    rows = batch(8)
    photo, strokes = PairAugmentation(**options)(photo_of(rows), rows, seeded())
    assert not strokes[..., :2].allclose(rows[..., :2])
    assert strokes[..., 2:].equal(rows[..., 2:])
    # Scale the drawing to the photo. It was rotated about the centre of its bounding box.
    x0, y0, x1, y1 = CORNERS.bounds
    scale = (84 - 2 * rasterize.margin(84)) / max(x1 - x0, y1 - y0)
    for number in range(len(rows)):
        turn = np.linalg.lstsq(rows[number, 1:7, :2].numpy(), strokes[number, 1:7, :2].numpy(), rcond=None)[0]
        start = np.array([-(x0 + x1) / 2, -(y0 + y1) / 2]) @ turn
        points = (start + np.cumsum(strokes[number, :, :2].numpy(), axis=0)) * scale + 42
        drawn = strokes[number, :-1, 2].numpy() > 0.5
        middles = ((points[:-1] + points[1:]) / 2)[drawn]
        inside = middles[((middles > 3) & (middles < 81)).all(axis=1)].astype(int)
        assert len(inside) >= 3
        near = [photo[number, 0, y - 1 : y + 2, x - 1 : x + 2].min() for x, y in inside]
        assert max(near) < 0.75


def test_transform_photos_agrees_with_numpy():
    photo = torch.rand(1, 3, 7, 7, generator=seeded())
    # The y axis points down, so this matrix turns x to y, which is clockwise.
    matrix = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
    turned = transform_photos(photo, matrix, torch.zeros(1, 2))
    np.testing.assert_allclose(turned[0].numpy(), np.rot90(photo[0].numpy(), -1, axes=(1, 2)), atol=1e-5)
    mirrored = transform_photos(photo, torch.tensor([[[-1.0, 0.0], [0.0, 1.0]]]), torch.zeros(1, 2))
    np.testing.assert_allclose(mirrored[0].numpy(), photo[0].numpy()[..., ::-1], atol=1e-5)
    # Shift by two of seven pixels to the right.
    shifted = transform_photos(photo, torch.eye(2).unsqueeze(0), torch.tensor([[4 / 7, 0.0]]))
    np.testing.assert_allclose(shifted[..., 2:].numpy(), photo[..., :5].numpy(), atol=1e-5)


def test_scale_resizes_photo_and_drawing():
    rows = batch(64)
    photo, strokes = PairAugmentation(scale=0.5)(photo_of(rows), rows, seeded())
    factors = strokes[:, 1, 0] / rows[:, 1, 0]
    assert 1 / 1.5 - 1e-6 <= factors.min() < 0.75
    assert 1.3 < factors.max() <= 1.5 + 1e-6
    torch.testing.assert_close(strokes[..., :2], rows[..., :2] * factors[:, None, None])
    for number in (factors.argmin(), factors.argmax()):
        back = 1 / float(factors[number])
        expected = affine_transform(
            photo_of(rows)[0, 0].numpy(), [back, back], 41.5 * (1 - back), order=1, mode="reflect"
        )
        np.testing.assert_allclose(photo[number, 0].numpy(), expected, atol=1e-3)


def test_shift_moves_only_the_photo():
    rows = batch(32)
    photo, strokes = PairAugmentation(shift=0.1)(photo_of(rows), rows, seeded())
    assert strokes.equal(rows)
    centres = torch.stack([(1 - image[0]).nonzero().float().mean(0) for image in photo])
    spread = (centres - centres.mean(0)).abs().max(0).values
    assert (spread > 2).all()
    assert (spread < 0.13 * 84).all()


def test_grey_is_luma_and_colour_stays_within_bounds():
    photo = torch.rand(16, 3, 5, 5, generator=seeded()) * 0.4 + 0.3
    grey, _ = PairAugmentation(grey=1.0)(photo, batch(16), seeded())
    luma = [colorsys.rgb_to_yiq(*pixel)[0] for pixel in photo.movedim(1, -1).reshape(-1, 3).tolist()]
    for channel in grey.unbind(1):  # colorsys uses the weights 0.30, 0.59 and 0.11
        np.testing.assert_allclose(channel.flatten().numpy(), luma, atol=2e-3)
    coloured, _ = PairAugmentation(colour=0.3)(photo, batch(16), seeded())
    assert 0 <= coloured.min() <= coloured.max() <= 1
    ratio = coloured.mean(dim=(1, 2, 3)) / photo.mean(dim=(1, 2, 3))
    assert 0.69 < ratio.min() < 0.9
    assert 1.1 < ratio.max() < 1.31


def test_same_seed_gives_the_same_augmentation():
    rows = batch()
    augmentation = PairAugmentation(rotation=30.0, scale=0.3, shift=0.1, flip=0.5, colour=0.3, grey=0.2)
    one, other, third = (augmentation(photo_of(rows), rows, seeded(seed)) for seed in (1, 1, 2))
    assert one[0].equal(other[0])
    assert one[1].equal(other[1])
    assert not one[0].equal(third[0])
