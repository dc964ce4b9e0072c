"""Handwritten hostile files: cases that fuzzing found, and cases that fuzzing is unlikely to find."""

from __future__ import annotations

import io
import json
import pickle
import resource
import struct
import sys
import tarfile
import time
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from sketchembed.cli import main
from sketchembed.data.sources import mini_imagenet, omniglot, sketchy_files
from sketchembed.data.sources.object_arrays import read_object_arrays
from sketchembed.data.store import DrawingStore
from sketchembed.data.store_writer import ClassDrawings, write_store
from sketchembed.errors import CheckpointError, ConfigError, DataError
from sketchembed.evaluation.generation.class_arithmetic import parse
from sketchembed.files import images
from sketchembed.files.array_cache import cached
from sketchembed.files.reading import read_text
from sketchembed.files.serialization import dataclass_from_dict, parse_json
from sketchembed.hub import model_files, registry
from sketchembed.networks.sketchembednet import ModelConfig, SketchEmbedNet
from sketchembed.reporting.part import Figure, Part, Table
from sketchembed.reporting.report_page import Entry, ReportPage
from sketchembed.runs.folder import Run
from sketchembed.runs.run_logger import RunLogger
from sketchembed.sketch.svg import read_strokes

SIZES = {"width": 4, "latent": 6, "hidden": 10, "hyper": 6, "embedding": 2, "mixtures": 3, "max_length": 4}


@pytest.fixture
def resource_limits():
    """Check that a test used less than 200 MB of memory and 10 s of processor time."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    assert time.process_time() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


@pytest.fixture
def net():
    torch.manual_seed(0)
    return SketchEmbedNet(ModelConfig(**SIZES), 12.5)


# ---- models ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("hidden", 10**9, "hidden is 1000000000, not 1 to 65,536"),
        ("hidden", 60_000, "has 'decoder"),
        ("image_size", 10**6, "image_size is 1000000, not 1 to 512"),
        ("max_length", 10**9, "max_length is"),
        ("latent", 0, "latent is 0"),
        ("shrink", 29, "image side of 28 is too small to shrink by 29"),
        ("image_size", 8, "image side of 8 is too small for 4 max poolings"),
        ("initial_logvar", 1e300, "initial_logvar is 1e"),
        ("width", True, "'width' is True, not int"),
        ("width", 4.0, "'width' is 4.0"),
        ("encoder", "conv5", "'encoder' is 'conv5'"),
        ("initial_logvar", float("nan"), "initial_logvar is nan"),
        ("mixtures", 10**400, "'mixtures' is a huge number|mixtures is 1000"),
    ],
)
def test_claimed_sizes_are_checked_before_allocation(
    net, tmp_path, monkeypatch, resource_limits, name, value, says
):
    described = registry.describe(net)
    described["config"][name] = value
    monkeypatch.setattr(model_files, "describe", lambda _: described)
    path = model_files.save(net, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=says):
        model_files.load_network(path)


@pytest.mark.parametrize("value", ["a", None, float("inf"), 0.0, [1.0]])
def test_offset_scale_of_a_model_must_be_valid(net, tmp_path, monkeypatch, value):
    described = registry.describe(net) | {"offset_scale": value}
    monkeypatch.setattr(model_files, "describe", lambda _: described)
    with pytest.raises(CheckpointError, match="offset_scale"):
        model_files.load_network(model_files.save(net, tmp_path / "x.safetensors"))


def checkpoint(net, path, pickled=None, method=zipfile.ZIP_STORED, **more):
    """Write a checkpoint, optionally with another pickle or another compression method."""
    state = {model_files.PREFIX + name: value for name, value in net.state_dict().items()}
    torch.save({"state_dict": state, registry.MODEL_KEY: registry.describe(net)} | more, path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, pickled if pickled and name.endswith("data.pkl") else content)
    return path


def test_valid_checkpoint_is_read(net, tmp_path):
    loaded = model_files.load(checkpoint(net, tmp_path / "a.ckpt"))
    assert loaded.config == net.config
    assert loaded.offset_scale == 12.5


@pytest.mark.parametrize(
    ("pickled", "says"),
    [
        # torch.load(weights_only=True) accepts the first two, which would take ten gigabytes.
        (
            b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\x00\xe4\x0bT\x02\x85R.",
            "names '__builtin__ bytearray'",
        ),
        (b"\x80\x02ctorch\nTensor\n\x8a\x05\x00\xe4\x0bT\x02\x85R.", "cannot be read"),
        (b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.", "names 'posix system'"),
        (b"\x80\x02" + b"]" * 3_000_000 + b".", "more than 2,097,152 bytes"),
        (b"\x80\x02" + b" " * (17 << 20), "a pickle of more than"),
        (b"\x80\x02" + b"]" * 2_000_000 + b".", "is not a SketchEmbedNet"),
    ],
)
def test_hostile_pickle_in_a_checkpoint_is_refused(net, tmp_path, pickled, says):
    path = checkpoint(net, tmp_path / "a.ckpt", pickled)
    with pytest.raises(CheckpointError, match=says):
        model_files.load(path)


def test_compressed_checkpoint_is_refused_unread(net, tmp_path, resource_limits):
    path = checkpoint(net, tmp_path / "a.ckpt", method=zipfile.ZIP_DEFLATED, more=torch.zeros(2**24))
    assert path.stat().st_size < 2**20
    with pytest.raises(CheckpointError, match="compressed"):
        model_files.load(path)


@pytest.mark.parametrize(
    "value",
    [1, torch.zeros(4, dtype=torch.complex64), torch.empty(4, device="meta"), torch.eye(4).to_sparse()[0]],
    ids=["number", "complex", "meta", "sparse"],
)
def test_weights_that_are_not_plain_tensors_are_refused(net, tmp_path, value):
    state = {model_files.PREFIX + name: tensor for name, tensor in net.state_dict().items()}
    state["net.encoder.blocks.0.bias"] = value
    torch.save({"state_dict": state, registry.MODEL_KEY: registry.describe(net)}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError):
        model_files.load(tmp_path / "a.ckpt")


@pytest.mark.parametrize("temperature", [0.0, 0.5])
@pytest.mark.parametrize("part", ["mean", "decoder"])
def test_drawing_with_nan_weights_raises(net, part, temperature):
    with torch.no_grad():
        for parameter in getattr(net, part).parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not finite"):
        net.draw(torch.rand(1, 1, 28, 28), temperature, seed=0)


# ---- archives --------------------------------------------------------------------------------------------


def tar_header(kind=b"0", size=0, name="test/n01/a.png", more=b""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.USTAR_FORMAT) + more.ljust(-(-len(more) // 512) * 512, b"\0")


@pytest.mark.parametrize(
    "content",
    [
        tar_header(b"x", 2**33 - 1) + bytes(1024),
        tar_header(b"L", 2**33 - 1) + bytes(1024),
        tar_header(b"x", 11, more=b"11 path=ab\n") * 2000 + bytes(1024),
        # A negative size leads back to the same header again and again.
        tar_header(b"x", 16, more=b"16 size=-100000\n") + tar_header() + bytes(1024),
        b"\x1f\x8b" + bytes(1024),
    ],
    ids=["long header", "long name", "headers without end", "backwards", "packed"],
)
def test_invalid_tar_gives_a_clear_error(tmp_path, resource_limits, content):
    (tmp_path / "test.tar").write_bytes(content)
    with pytest.raises(DataError, match=r"test\.tar cannot be read"):
        mini_imagenet.load_mini_imagenet(tmp_path, tmp_path / "prepared", "test", 8)


def test_links_and_devices_in_a_tar_are_skipped(tmp_path):
    link = tar_header(tarfile.SYMTYPE) + tar_header(tarfile.CHRTYPE) + tar_header(tarfile.FIFOTYPE)
    (tmp_path / "test.tar").write_bytes(link + bytes(1024))
    with pytest.raises(DataError, match="holds no image"):
        mini_imagenet.load_mini_imagenet(tmp_path, tmp_path / "prepared", "test", 8)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a\\..\\b.png", ".."])
def test_list_with_a_path_outside_the_folder_raises(tmp_path, name):
    (tmp_path / "test.csv").write_text(f"filename,label\n{name},n01\n")
    with pytest.raises(DataError, match="line 2"):
        mini_imagenet.read_list(tmp_path / "test.csv")


def test_oversized_csv_field_gives_a_clear_error(tmp_path):
    (tmp_path / "test.csv").write_text("filename,label\n" + "a" * 200_000 + ",b\n")
    with pytest.raises(DataError, match="field larger than"):
        mini_imagenet.read_list(tmp_path / "test.csv")
    with pytest.raises(DataError, match="a line that is not csv"):
        sketchy_files.read_boxes(b"a\n" + b"a" * 200_000, "stats.csv")


def test_oversized_stroke_file_is_refused_unread(tmp_path, resource_limits):
    for part in omniglot.LAKE_PARTS:
        with zipfile.ZipFile(tmp_path / f"strokes_{part}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("strokes/Futurama/character01/0001_01.txt", b"\n" * 2**26)
    with pytest.raises(DataError, match="has 67,108,864 bytes; expected at most 262,144"):
        list(omniglot.published_strokes(tmp_path))


def test_claimed_size_of_a_photo_is_limited():
    line = b"a,b,n1,c,d,e,f,g,h,i,j,k,100000,100000,0,0,9,9\n"
    with pytest.raises(DataError, match="at most 4096"):
        sketchy_files.read_boxes(b"head\n" + line, "stats.csv")


# ---- pickled drawings ------------------------------------------------------------------------------------


def npz(path, payload, count):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (count,)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.npy", header.getvalue() + payload)
    return path


def test_pickle_with_too_many_steps_is_refused(tmp_path, resource_limits):
    noise = np.random.default_rng(0).choice(list(b"])N"), 8 << 20).astype(np.uint8).tobytes()
    path = npz(tmp_path / "a.npz", b"\x80\x02" + noise, 10)
    with pytest.raises(DataError, match="more steps than 10 drawings need"):
        read_object_arrays(path, ["train"])


def test_pickle_with_text_beyond_latin_1_is_refused(tmp_path):
    text = ("a" * 1000 + "\U0001f600").encode()
    path = npz(tmp_path / "a.npz", b"\x80\x02X" + struct.pack("<I", len(text)) + text + b".", 1)
    with pytest.raises(DataError, match="letters that do not stand for bytes"):
        read_object_arrays(path, ["train"])


def test_pickle_of_many_drawings_is_read(tmp_path):
    drawings = np.empty(20_000, dtype=object)
    for at in range(len(drawings)):
        drawings[at] = np.full((2, 3), at % 300, dtype=np.int16)
    for protocol in (2, 4):
        path = npz(tmp_path / "a.npz", pickle.dumps(drawings, protocol), len(drawings))
        assert len(read_object_arrays(path, ["train"])["train"]) == len(drawings)


# ---- drawings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "M0 0A1e-300 1e-300 0 0 1 1e300 1e300",
        "M0 0A 5 5 nan 0 1 9 9",
        "M0 0A 1e-320 5 0 0 1 1e9 1e999",
        "M0 0A" + "1" * 100_000 + " 2 x",
        "M0 0A" + "1" * 100_000,
        "M0 0L" + "1" * 100_000 + " 2",
        "M 1e308 1e308 l 1e308 1e308",
        "M0 0" + "C9e8 1 -9e8 5 3 3 " * 40,
    ],
)
def test_invalid_svg_path_is_refused_quickly(path, resource_limits):
    with pytest.raises(DataError):
        read_strokes(f'<svg><path d="{path}"/></svg>')


def test_large_svg_is_refused_unread(tmp_path, resource_limits):
    (tmp_path / "a.svg").write_bytes(b"<svg>" + b"<a/>" * 2_000_000 + b"</svg>")
    with pytest.raises(DataError, match="has 8,000,011 bytes"):
        read_strokes(tmp_path / "a.svg")


@pytest.mark.parametrize("text", ["a-" * 4000 + "a", "cat-" * 1500 + "x", "(" * 9000, "x" * 10_001])
def test_long_class_arithmetic_is_refused_quickly(text, resource_limits):
    with pytest.raises(ConfigError):
        parse(text, ["cat", "dog", "ice cream"])


def test_large_baseline_jpeg_is_read_at_half_its_size(monkeypatch):
    picture = Image.linear_gradient("L").resize((64, 48))
    plain, scans = io.BytesIO(), io.BytesIO()
    picture.save(plain, "JPEG", quality=95)
    picture.save(scans, "JPEG", quality=95, progressive=True)
    monkeypatch.setattr(images, "MAX_PIXELS", 2000)
    found = images.open_image(plain.getvalue(), "plain")
    assert found.size == (32, 24)
    wanted = picture.convert("RGB").resize((32, 24), Image.Resampling.BOX)
    assert np.abs(np.asarray(found, dtype=int) - np.asarray(wanted, dtype=int)).max() <= 4
    with pytest.raises(DataError, match="64 x 48 pixels; expected at most 2,000"):
        images.open_image(scans.getvalue(), "scans")


# ---- prepared data ---------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    rows = np.array([[0, 0, 0], [5, 5, 1]], dtype=np.int16)
    classes = [ClassDrawings("cat", [(0, rows), (1, rows)], {}), ClassDrawings("dog", [(0, rows)], {})]
    write_store(tmp_path / "store", classes, source="quickdraw", max_length=64)
    return tmp_path / "store"


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "O"},
        {"dtype": "<U9"},
        {"rows": -6},
        {"rows": 10**30},
        {"rows": "6"},
        {"arrays": ["../../secret"]},
        {"arrays": ["points"]},
        {"classes": [{"name": ["cat"], "counts": [2, 1, 0]}]},
        {"classes": [{"name": "cat", "counts": [2, 1, 0], "moments": [1, 2]}] * 2},
        {"classes": [{"name": "cat", "counts": [2, 1, 0]}]},
        {"classes": [{"name": "cat", "counts": [2, 1, 0], "moments": [2.0, 1e308, 1.0]}] * 2},
        {"classes": [{"name": "cat", "counts": [2, 1, 0], "moments": [1e-300, 1.0, 1.0]}] * 2},
        {"digests": None},
        {"source": 3},
    ],
)
def test_inconsistent_manifest_gives_a_clear_error(store, change):
    path = store / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match="is incomplete or damaged"):
        DrawingStore(store)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("starts", np.array([0, 4, 2, 6])),
        ("starts", np.array([0.0, 2, 4, 6])),
        ("starts", np.zeros(0, dtype=np.int64)),
        ("labels", np.array([0, 0, 7], dtype=np.int32)),
        ("labels", np.array([0, 0, -1], dtype=np.int32)),
        ("partitions", np.array([0, 1, 9], dtype=np.uint8)),
        ("partitions", np.array([[0, 1, 2]], dtype=np.uint8)),
    ],
)
def test_inconsistent_arrays_give_a_clear_error(store, name, array):
    np.save(store / f"{name}.npy", array)
    with pytest.raises(DataError, match="is incomplete or damaged"):
        DrawingStore(store)


def test_invalid_prepared_arrays_are_rebuilt(tmp_path):
    path, made = tmp_path / "a.npz", {"labels": np.arange(3)}

    def valid(arrays):
        return arrays["labels"].shape == (3,)

    files = {
        "other": lambda: np.savez(path, key=np.array("k"), labels=np.arange(9)),
        "missing": lambda: np.savez(path, key=np.array("k")),
        "packed": lambda: np.savez_compressed(path, key=np.array("k"), labels=np.arange(3) + 7),
        "damaged": lambda: path.write_bytes(b"PK\3\4"),
        "folder": lambda: None,
    }
    for write in files.values():
        write()
        np.testing.assert_array_equal(cached(path, "k", lambda: made, valid)["labels"], made["labels"])
    # Valid arrays are not rebuilt.
    assert list(cached(path, "k", dict, valid)["labels"]) == [0, 1, 2]


# ---- runs and reports ------------------------------------------------------------------------------------


def test_damaged_run_files_are_read_as_far_as_possible(tmp_path):
    run = Run(tmp_path)
    (tmp_path / "run.json").write_bytes(b'{"a":' * 5000 + b"1" + b"}" * 5000)
    (tmp_path / "config.yaml").write_bytes(b"a: \xff\n")
    (tmp_path / "metrics.jsonl").write_bytes(
        b'\xff\n{"step": 1, "time": 5.0, "train/loss": 2.0}\n{"step": 2, "ti'
    )
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "step-x.json").write_text("{}")
    assert run.facts == {}
    assert run.config == "a: \ufffd\n"
    logger = RunLogger(run)
    logger.log_metrics({"train/loss": 1.0}, 3)
    logger.finalize("success")
    run.rewind(9)
    kept = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in kept] == [1]


def test_text_of_a_missing_or_large_file_is_empty(tmp_path):
    (tmp_path / "large").write_bytes(b"a" * 100)
    assert read_text(tmp_path) == read_text(tmp_path / "nothing") == read_text(tmp_path / "large", 99) == ""
    assert read_text(tmp_path / "large", 100) == "a" * 100


def test_deeply_nested_svg_is_shown():
    svg = '<svg xmlns="http://www.w3.org/2000/svg">' + "<g>" * 5000 + "</g>" * 5000 + "</svg>"
    part = Part("a", "A", figures=[Figure("deep", "Deep", svg, "")])
    page = ReportPage("A", entries=[Entry("a", "A", "done", part)]).html()
    assert page.count("<img") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"title": 3},
        {"seconds": "1"},
        {"tables": [{"title": "a", "columns": 3, "rows": []}]},
        {"tables": [{"title": "a", "columns": ["b"], "rows": [3]}]},
        {"figures": [{"name": "a", "title": "b", "svg": None}]},
        {"drawings": [{"title": "a", "items": "x"}]},
        {"facts": []},
        {"more": 1},
        {"name": "../a"},
        {"figures": [{"name": "/etc/motd", "title": "b", "svg": "<svg/>"}]},
    ],
)
def test_report_part_with_wrong_values_raises(tmp_path, change):
    part = Part("a", "b", tables=[Table("c", ["d"], [[1.5]])], figures=[Figure("e", "f", "<svg/>")])
    whole = json.loads(part.to_json())
    (tmp_path / "a.json").write_text(json.dumps(whole))
    assert Part.read(tmp_path / "a.json") == part
    (tmp_path / "a.json").write_text(json.dumps(whole | change))
    with pytest.raises(ValueError, match="is not a part of a report"):
        Part.read(tmp_path / "a.json")


def test_lone_surrogate_is_written_as_a_question_mark(tmp_path):
    part = Part("a", "half \ud800")
    page = ReportPage(part.title, entries=[Entry("a", part.title, "done", part)]).write(tmp_path / "a.html")
    assert "half ?" in page.read_text("utf-8")
    part.write(tmp_path)


# ---- plain values ----------------------------------------------------------------------------------------


def test_deeply_nested_json_raises():
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000 + "]" * 100_000)


def test_dataclass_from_dict_error_names_the_field():
    assert dataclass_from_dict(ModelConfig, {"width": 8}) == ModelConfig(width=8)
    with pytest.raises(ValueError, match="'width' is '8', not int"):
        dataclass_from_dict(ModelConfig, {"width": "8"})
    with pytest.raises(ValueError, match="ModelConfig has no 'wings'"):
        dataclass_from_dict(ModelConfig, {"wings": 2})
    with pytest.raises(ValueError, match="Table lacks 'columns'"):
        dataclass_from_dict(Table, {"title": "a", "rows": []})


# ---- configurations --------------------------------------------------------------------------------------

EVIL = "with open({mark!r}, 'w'):\n    pass\n\n\nclass Evil:\n    pass\n\n\ndef evil(*_):\n    pass\n"


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """Write a module that creates a file when it is imported; return the path of that file."""
    mark = tmp_path / "mark"
    (tmp_path / "evilmodule.py").write_text(EVIL.format(mark=str(mark)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "evilmodule", raising=False)
    return mark


@pytest.mark.parametrize(
    "config",
    [
        "trainer:\n  callbacks:\n  - class_path: evilmodule.Evil\n",
        "trainer:\n  logger: {class_path: evilmodule.Evil}\n",
        "trainer:\n  strategy: {class_path: evilmodule.Evil}\n",
        "model: {class_path: evilmodule.Evil}\n",
        "data: {class_path: evilmodule.Evil}\n",
        "trainer:\n  callbacks:\n  - class_path: subprocess.Popen\n    init_args: {args: [touch, MARK]}\n",
        "trainer:\n  callbacks:\n  - class_path: pytorch_lightning.callbacks.LambdaCallback\n"
        "    init_args: {on_fit_start: evilmodule.evil}\n",
        "model: !!python/object/apply:os.system ['touch MARK']\n",
        "a: &a [x, x]\nb: [*a, *a]\n",
        "run: " + "[" * 3000 + "]" * 3000 + "\n",
        "trainer:\n  callbacks: {class_path: [1]}\n",
    ],
)
def test_untrusted_configuration_imports_and_runs_nothing(tmp_path, evil, config, capsys):
    path = tmp_path / "run.yaml"
    path.write_text(config.replace("MARK", str(evil)))
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--preset", "cpu", "--config", str(path), "--run.root", str(tmp_path / "runs")])
    assert stop.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not evil.exists()
    assert not (tmp_path / "runs").exists()


def test_modules_in_sketchembed_imports_are_allowed(tmp_path, evil, monkeypatch, capsys):
    """Confirm that an allowed module is imported; otherwise the test above would prove nothing."""
    # Another name, since jsonargparse keeps what was allowed for the rest of the process.
    (tmp_path / "evilmodule.py").rename(tmp_path / "allowedmodule.py")
    monkeypatch.setenv("SKETCHEMBED_IMPORTS", "allowedmodule")
    path = tmp_path / "run.yaml"
    path.write_text("trainer:\n  callbacks:\n  - class_path: allowedmodule.Evil\n")
    with pytest.raises(SystemExit):  # Evil is not a callback
        main(["fit", "--preset", "cpu", "--config", str(path), "--run.root", str(tmp_path / "runs")])
    assert evil.exists()
    monkeypatch.setenv("SKETCHEMBED_IMPORTS", "not a module")
    with pytest.raises(SystemExit):
        main(["fit", "--preset", "cpu"])
    assert "SKETCHEMBED_IMPORTS is 'not a module'" in capsys.readouterr().err
