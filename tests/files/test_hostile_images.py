import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import hostile_images
import numpy as np
import pytest
from PIL import Image

from sketchembed.errors import DataError
from sketchembed.files import images

LIMIT = 512
"""Most MiB by which reading may grow the process."""
PATIENCE = 60
"""Most seconds for one file, on a busy machine."""
ERROR = re.compile(r"[^\n]+; expected [^\n]+\. [^\n]+")


@pytest.fixture(scope="module")
def readable():
    return hostile_images.readable()


@pytest.fixture(scope="module")
def refused():
    return hostile_images.refused()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "files"
    folder.mkdir()
    hostile_images.make(folder)
    return folder


@pytest.mark.timeout(120)
def test_unusual_files_are_read(readable, recwarn):
    pictures = {name: images.open_image(content, name) for name, content in readable.items()}
    assert {picture.mode for picture in pictures.values()} == {"RGB"}
    house = np.asarray(hostile_images.house(), dtype=int)
    for name in readable:
        if name.startswith(("animated", "truly", "several", "damaged")):
            # The bound allows for the losses of JPEG and GIF. The later frames, red and blue, exceed it.
            assert np.abs(np.asarray(pictures[name], dtype=int) - house).mean() < 8, name
    assert pictures["tall.png"].size == (1, 20000)
    assert pictures["one-pixel.png"].getpixel((0, 0)) == (255, 0, 0)
    assert not recwarn.list


@pytest.mark.timeout(120)
def test_hostile_content_gives_a_clear_error(refused, recwarn):
    assert len(refused) >= 20
    for name, content in refused.items():
        with pytest.raises(DataError) as caught:
            images.open_image(content, name)
        assert ERROR.fullmatch(str(caught.value)), name
        assert str(caught.value).startswith(name)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("empty.png", "it is empty"),
        ("vectors.png", "it begins with b'<svg xmlns"),
        ("postscript.png", "it begins with b'%!PS"),
        ("wrong-sum-header.png", "a damaged PNG"),
        ("claims-more.png", "has 8192 x 4097 pixels; expected at most 33,554,432"),
        ("claims-much.png", "has 3600000000 pixels; expected at most 33,554,432"),
        ("beyond.webp", "has 8192 x 2049 pixels; expected at most 16,777,216"),
        ("beyond.jpg", "has 8192 x 4097 pixels; expected at most 33,554,432"),
        ("large-tile.tif", "has 32768 x 65520 pixels"),
        ("many-scans.jpg", "more than 64 scans"),
        ("integers.tif", "32-bit numbers"),
    ],
)
def test_error_names_what_was_found(name, says, refused):
    with pytest.raises(DataError, match=re.escape(says)):
        images.open_image(refused[name], name)


@pytest.mark.parametrize("most", [100, 2000, None])
def test_pixel_limit_does_not_depend_on_that_of_pillow(most, monkeypatch, recwarn):
    # The image has 2,400 pixels. Pillow warns above its limit and raises above twice its limit.
    monkeypatch.setattr(images, "MAX_PIXELS", 2399)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
    content = hostile_images.saved(hostile_images.house(), "PNG")
    with pytest.raises(DataError, match=r"house has (2400|60 x 40) pixels; expected at most 2,399"):
        images.open_image(content, "house")
    assert not recwarn.list


def test_file_without_permission_gives_a_clear_error():
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:  # pytest's folder is private to its owner
        path = Path(folder) / "a.png"
        hostile_images.house().save(path)
        path.chmod(0)
        Path(folder).chmod(0o755)
        try:
            if user == 0:  # root may read every file
                os.seteuid(65534)
            with pytest.raises(DataError, match=r"a\.png cannot be read \(Permission denied\)"):
                images.open_image(path, "a.png")
        finally:
            os.seteuid(user)


@pytest.mark.timeout(120)
def test_damaged_bytes_are_read_or_refused():
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.integers(0, 256, (24, 24, 4), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = {
        "PNG": noise,
        "JPEG": noise.convert("CMYK"),
        "BMP": noise.convert("RGB"),
        "GIF": noise.convert("P"),
        "WEBP": noise,
        "TIFF": noise,
    }
    outcomes = []
    for kind, picture in kinds.items():
        whole = hostile_images.saved(picture, kind, **({} if kind in ("BMP", "GIF") else {"exif": exif}))
        for _ in range(150):
            content = bytearray(whole)
            places = random.integers(0, min(len(content), random.choice([40, 400, 10**6])), 4)
            for place in places:
                content[place] = random.integers(0, 256)
            content = content[: len(content) if random.random() < 0.7 else random.integers(1, len(content))]
            try:
                images.open_image(bytes(content), "damaged")
                outcomes.append("read")
            except DataError:
                outcomes.append("refused")
    assert min(outcomes.count("read"), outcomes.count("refused")) > 100


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_loader_keeps_to_time_and_memory_limits(folder, readable):
    script = str(Path(hostile_images.__file__))
    package = str(Path(images.__file__).parents[2])
    ran = subprocess.run(
        [sys.executable, script, str(folder), *hostile_images.LOADERS],
        capture_output=True,
        text=True,
        timeout=590,
        env=os.environ | {"PYTHONPATH": package, "OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    lines = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    right = {*readable, "largest.png", "largest.jpg", "largest-plain.jpg", "largest.webp"}
    for loader in hostile_images.LOADERS:
        *rows, last = (line for line in lines if line["loader"] == loader)
        assert last["grown"] < LIMIT
        assert {row["name"] for row in rows} == {path.name for path in folder.iterdir()}
        for row in rows:
            assert row["outcome"] in ("read", "refused"), row
            assert row["seconds"] < PATIENCE, row
            if row["name"] not in right:
                assert row["outcome"] == "refused", row
            if row["outcome"] == "refused":
                assert ERROR.fullmatch(row["text"]), row
        read = {row["name"] for row in rows if row["outcome"] == "read"}
        if loader in ("image", "photo", "mini-imagenet", "draw-photo"):
            assert read == right
        else:
            # A blank picture is no drawing; and a run's must be a copy of one of Omniglot's, here the house.
            assert read & right >= {"animated.png", "truly-a-tiff.jpg", "damaged-profile.png"}
