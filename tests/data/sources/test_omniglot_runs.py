import io
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from sketchembed.cli import main
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sources import omniglot_images
from sketchembed.data.sources.omniglot_runs import OneShotRuns
from sketchembed.errors import DataError

CLASSES, DRAWERS = 5, 4


def png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def omniglot(tmp_path):
    """Write images of one alphabet and two one-shot runs; return the folder, the images and the answers."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 2, (CLASSES, DRAWERS, 9, 9)) > 0
    with zipfile.ZipFile(tmp_path / "images_evaluation.zip", "w") as archive:
        for label in range(CLASSES):
            for drawer in range(DRAWERS):
                name = f"images_evaluation/Klingon/character{label:02d}/{label:04d}_{drawer:02d}.png"
                archive.writestr(name, png(pictures[label, drawer]))
    zipfile.ZipFile(tmp_path / "images_background.zip", "w").close()
    answers = [random.permutation(CLASSES) for _ in range(2)]
    with zipfile.ZipFile(tmp_path / "all_runs.zip", "w") as archive:
        for number, answer in enumerate(answers, 1):
            lines = []
            for place in range(CLASSES):
                training, test = (
                    f"run{number:02d}/{kind}{place + 1:02d}.png" for kind in ("training/class", "test/item")
                )
                archive.writestr(training, png(pictures[place, 0]))
                archive.writestr(test, png(pictures[answer[place], number]))
                lines.append(f"{test} run{number:02d}/training/class{answer[place] + 1:02d}.png")
            archive.writestr(f"run{number:02d}/class_labels.txt", "\n".join(lines) + "\n")
    data = ImageSet(
        np.where(pictures, 255, 0).astype(np.uint8).reshape(-1, 1, 9, 9),
        np.repeat(np.arange(CLASSES), DRAWERS),
        [f"Klingon/character{label:02d}" for label in range(CLASSES)],
        [f"{label:04d}_{drawer:02d}" for label in range(CLASSES) for drawer in range(DRAWERS)],
        ["Klingon"] * CLASSES,
        {"data": "Omniglot", "split": "lake", "part": "test"},
    )
    return tmp_path, data, answers


def test_run_images_are_found_and_labelled(omniglot, tmp_path):
    folder, data, answers = omniglot
    runs = OneShotRuns(data, folder, tmp_path / "prepared")
    assert (len(runs), runs.way, runs.trials, runs.names) == (2, 5, 10, ["run01", "run02"])
    batch = runs.batch(range(2))
    for run in range(2):
        np.testing.assert_array_equal(batch.support[run], np.arange(CLASSES) * DRAWERS)
        np.testing.assert_array_equal(batch.query[run], answers[run] * DRAWERS + run + 1)
        np.testing.assert_array_equal(batch.query_labels[run], answers[run])
    assert runs.digest(2) != runs.digest(1)


def test_unpacked_runs_equal_the_archive(omniglot, tmp_path):
    folder, data, _ = omniglot
    packed = OneShotRuns(data, folder, tmp_path / "prepared").digest(2)
    with zipfile.ZipFile(folder / "all_runs.zip") as archive:
        archive.extractall(folder / "one-shot")
    (folder / "all_runs.zip").unlink()
    assert OneShotRuns(data, folder, tmp_path / "prepared").digest(2) == packed


def edit_runs(folder, change):
    """Unpack the runs, change the second one, and delete the archive."""
    with zipfile.ZipFile(folder / "all_runs.zip") as archive:
        archive.extractall(folder / "runs")
    (folder / "all_runs.zip").unlink()
    change(folder / "runs" / "run02")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda run: (run / "class_labels.txt").write_text("a b c\n"),
            "line 1 of run02/class_labels.txt is 'a b c'",
        ),
        (lambda run: (run / "class_labels.txt").write_text("\n"), "run02/class_labels.txt is empty"),
        (lambda run: (run / "test" / "item01.png").unlink(), "line 1 of run02/class_labels.txt is"),
        (
            lambda run: (run / "test" / "item01.png").write_bytes(png(np.ones((9, 9), dtype=bool))),
            "run02/test/item01.png is none of Omniglot's images",
        ),
        (
            lambda run: (run / "test" / "item01.png").write_bytes(b"GIF"),
            "item01.png cannot be read as an image",
        ),
        (
            lambda run: [
                path.write_text("\n".join(path.read_text().splitlines()[1:]))
                for path in [run / "class_labels.txt"]
            ],
            "the runs are of different sizes",
        ),
        (shutil.rmtree, None),
    ],
)
def test_damaged_run_error_names_the_file(change, message, omniglot, tmp_path):
    folder, data, _ = omniglot
    edit_runs(folder, change)
    if message is None:
        assert OneShotRuns(data, folder, tmp_path / "prepared").names == ["run01"]
        return
    with pytest.raises(DataError, match=message):
        OneShotRuns(data, folder, tmp_path / "prepared")


def test_missing_character_error_names_the_image(omniglot, tmp_path):
    folder, data, _ = omniglot
    OneShotRuns(data, folder, tmp_path / "prepared")
    with pytest.raises(
        DataError, match="the runs show Klingon/character0./000._00, which is not among the images"
    ):
        OneShotRuns(data.select(data.class_names[:3]), folder, tmp_path / "prepared")


def test_command_reports_errors_and_trials(omniglot, tmp_path, monkeypatch):
    folder, data, _ = omniglot
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(omniglot_images, "load_omniglot", lambda *_: data)
    monkeypatch.setattr(omniglot_images, "select_part", lambda images, name, part: images)
    # The packaged model needs larger images, so hide it.
    monkeypatch.setattr("sketchembed.evaluation.models.PACKAGED", tmp_path / "package")
    folder.rename(tmp_path.parent / "omniglot")
    monkeypatch.setenv("SKETCHEMBED_DATA", str(tmp_path.parent))
    out = tmp_path.parent / "report"
    main(["evaluate", "fewshot", "--split", "lake-runs", "--baselines", "pixels", "--out", str(out)])
    assert " of 10 |" in out.with_suffix(".md").read_text()
    assert "trials 10" in out.with_suffix(".md").read_text()


@pytest.mark.data
@pytest.mark.slow
def test_published_runs_are_complete(real_data, real_omniglot, tmp_path):
    images = omniglot_images.load_omniglot(real_data / "omniglot", real_omniglot)
    data = omniglot_images.select_part(images, "lake", "test")
    runs = OneShotRuns(data, real_data / "omniglot", tmp_path)
    batch = runs.batch(range(len(runs)))
    assert runs.way == 20
    assert runs.trials == 20 * len(runs)
    # The answers in the files agree with Omniglot's classes, and each run uses one alphabet.
    for support, query, labels in zip(batch.support, batch.query, batch.query_labels, strict=True):
        np.testing.assert_array_equal(data.labels[query], data.labels[support][labels])
        assert len({data.groups[label] for label in data.labels[support]}) == 1
