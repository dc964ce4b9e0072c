"""Draw, embed and search folders of pictures with tiny models."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from sketchembed.cli import embed, main
from sketchembed.files.embedding_table import EmbeddingTable
from sketchembed.files.reading import digest
from sketchembed.hub.model_files import load, save
from sketchembed.networks import ModelConfig, SketchEmbedNet

CONFIG = ModelConfig(width=8, latent=12, hidden=10, hyper=6, embedding=2, mixtures=3, max_length=12)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(5)
    return save(SketchEmbedNet(CONFIG), tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture
def pictures(tmp_path):
    """A folder with twelve pictures in two folders, and three files that are none."""
    folder = tmp_path / "pictures"
    (folder / "inner").mkdir(parents=True)
    for number in range(12):
        picture = Image.new("L", (40, 40), "white")
        ImageDraw.Draw(picture).line([(5, 5 + 2 * number), (30, 20), (20, 35)], width=2)
        picture.save(folder / ("inner" if number % 2 else "") / f"{number:02}.png")
    Image.new("L", (9, 9), "white").save(folder / "blank.png")
    (folder / "broken.png").write_bytes(b"\x89PNG and nothing else")
    (folder / "linked.png").symlink_to(tmp_path / "nothing.png")
    return folder


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_folder_is_drawn_and_bad_files_are_skipped(pictures, model, tmp_path, capsys):
    before = files_of(pictures)
    out = tmp_path / "out"
    options = ["--show_input", "--sheet", "--gif", "--animate", "--samples", "2", "--temperature", "0.5"]
    main(["draw", str(pictures), str(model), "--out", str(out), *options])
    assert files_of(pictures) == before
    made = files_of(out)
    for number in range(12):
        stem = f"inner/{number:02}" if number % 2 else f"{number:02}"
        endings = ("-1.svg", "-1.png", "-1.gif", "-2.svg", "-2.png", "-2.gif", "-input.png")
        assert {f"{stem}{ending}" for ending in endings} <= set(made)
    assert {"contact-sheet.svg", "contact-sheet.png"} <= set(made)
    assert len(made) == 12 * 7 + 2
    assert b"<animate" in made["00-1.svg"]
    output = capsys.readouterr()
    assert "12 images drawn, 3 skipped" in output.err
    assert output.err.count("skipped: ") == 3
    assert {line for line in output.out.split() if line.endswith("-input.png")} == {
        str(path) for path in out.rglob("*-input.png")
    }


def test_drawing_equals_that_of_the_network(pictures, model, tmp_path):
    main(["draw", str(pictures / "04.png"), str(model), "--out", str(tmp_path / "out"), "--size", "99"])
    (sketch,) = load(model).draw([pictures / "04.png"])
    assert (tmp_path / "out" / "04.svg").read_text() == sketch.to_svg(99)


def test_no_input_and_no_other_drawing_is_overwritten(pictures, model, tmp_path, monkeypatch):
    monkeypatch.chdir(pictures)
    for name in ("a.png", "A.bmp"):
        Image.open("00.png").save(name)
    before = files_of(pictures)
    main(["draw", "a.png", str(model), "--out", "."])
    after = files_of(pictures)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"a-drawing.svg", "a-drawing.png"}
    main(["draw", ".", str(model), "--out", "../out"])
    made = files_of(tmp_path / "out")
    assert {"a-png.svg", "A-bmp.svg"} <= set(made)


def test_drawings_of_an_earlier_call_are_no_inputs(pictures, model, capsys):
    for _ in range(2):
        main(["draw", str(pictures), str(model), "--out", str(pictures / "drawings")])
        assert "12 images drawn" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["draw", str(pictures), str(model), "--out", str(pictures)])
    assert "in the same folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--temperature", "-1"], "temperature is -1.0; expected 0 to 100"),
        (["--temperature", "nan"], "temperature is nan"),
        (["--samples", "0"], "samples is 0; expected 1 to"),
        (["--size", "0"], "size is 0; expected 8 to"),
        (["--device", "cuda:77"], "there is no device 'cuda:77'; expected one of auto, cpu"),
        (["--out", "FILE"], "is not a folder"),
    ],
)
def test_wrong_values_give_one_line_before_anything_is_computed(options, says, pictures, model, capsys):
    options = [str(pictures / "00.png") if word == "FILE" else word for word in options]
    with pytest.raises(SystemExit) as caught:
        main(["draw", str(pictures), str(model), *options])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_a_single_bad_file_gives_its_own_message(pictures, model, tmp_path, capsys):
    for command in ("draw", "embed"):
        with pytest.raises(SystemExit) as caught:
            main([command, str(pictures / "blank.png"), str(model), "--out", str(tmp_path / "new.npz")])
        assert caught.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "blank.png is blank" in line


def test_embeddings_are_those_of_the_network_with_paths_and_digest(pictures, model, tmp_path, capsys):
    out = tmp_path / "z.npz"
    main(["embed", str(pictures), str(model), "--out", str(out)])
    table = EmbeddingTable.read(out)
    assert table.model == digest(model)
    assert table.paths == sorted(table.paths)
    assert len(table.paths) == 12
    assert torch.equal(torch.from_numpy(table.z), load(model).embed(table.paths))
    output = capsys.readouterr()
    assert "12 embeddings of 12 numbers; 3 files skipped" in output.out
    assert output.err.count("skipped: ") == 3
    assert not list(tmp_path.glob("*.parts"))


def test_interrupted_embedding_resumes_with_the_same_bytes(pictures, model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(embed, "BLOCK", 4)
    whole, cut = tmp_path / "whole.npz", tmp_path / "cut.npz"
    main(["embed", str(pictures), str(model), "--out", str(whole)])
    original, calls = embed._embed_block, []

    def stop(net, files, part):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(files)
        return original(net, files, part)

    monkeypatch.setattr(embed, "_embed_block", stop)
    with pytest.raises(SystemExit) as caught:
        main(["embed", str(pictures), str(model), "--out", str(cut)])
    assert caught.value.code == 130
    assert not cut.exists()
    # A damaged block and one of a changed file are computed again.
    _, second = sorted((tmp_path / "cut.npz.parts").iterdir())
    second.write_bytes(second.read_bytes()[:-30])
    calls.clear()
    monkeypatch.setattr(embed, "_embed_block", lambda *given: calls.append(given) or original(*given))
    capsys.readouterr()
    main(["embed", str(pictures), str(model), "--out", str(cut)])
    assert len(calls) == 3
    assert "4 of them before" in capsys.readouterr().out
    assert cut.read_bytes() == whole.read_bytes()


def test_search_ranks_by_cosine_and_does_not_find_the_query(pictures, model, tmp_path, capsys):
    query = pictures / "inner" / "05.png"
    out = tmp_path / "sheet.svg"
    main(["search", str(query), str(pictures), str(model), "--nearest", "3", "--out", str(out)])
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines() if "  " in line]
    net = load(model)
    others = [path for path in sorted(pictures.rglob("[01]*.png")) if path != query]
    z, q = net.embed(others).numpy(), net.embed(query).numpy()[0]
    cosines = z @ q / np.linalg.norm(z, axis=1) / np.linalg.norm(q)
    best = np.argsort(-cosines)[:3]
    assert [path for _, path in lines] == [str(others[at]) for at in best]
    assert [float(cosine) for cosine, _ in lines] == pytest.approx(cosines[best].tolist(), abs=1e-4)
    assert out.read_text().count("<image") == 4
    table = tmp_path / "z.npz"
    main(["embed", str(pictures), str(model), "--out", str(table)])
    capsys.readouterr()
    main(["search", str(query), str(table), str(model), "--nearest", "3", "--out", str(tmp_path / "b.png")])
    assert [line.split("  ") for line in capsys.readouterr().out.splitlines()[:3]] == lines


def test_search_in_a_table_of_another_model_is_refused(pictures, model, tmp_path, capsys):
    EmbeddingTable([str(pictures / "00.png")], np.ones((1, 12), np.float32), "1" * 64).write(
        tmp_path / "z.csv"
    )
    with pytest.raises(SystemExit) as caught:
        main(["search", str(pictures / "00.png"), str(tmp_path / "z.csv"), str(model)])
    assert caught.value.code == 2
    assert "has embeddings of another model" in capsys.readouterr().err


def test_packaged_models_are_listed_and_named_in_the_help(capsys):
    main(["models"])
    assert "quickdraw-conv4" in capsys.readouterr().out
    for command in ("draw", "embed", "search", "export"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "quickdraw-conv4" in capsys.readouterr().out


def test_reasons_of_many_skipped_files_are_limited(capsys):
    embed.report_skipped({str(number): f"{number}.png is blank" for number in range(40)})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "skipped: 0.png is blank"
    assert lines[-1] == "skipped: 30 more files"
    assert len(lines) == 11
