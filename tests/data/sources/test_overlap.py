import csv
import json
import os
import tarfile
from pathlib import Path

import pytest

from sketchembed.data.sources.overlap import is_allowed, overlapping_classes, overlaps, synset_of
from sketchembed.data.sources.splits import check_disjoint, read_fields, read_names

PARTS = {"train": 64, "val": 16, "test": 20}
# From WordNet 3.0. A test class overlaps, and so does every synset below or above one.
OVERLAPPING = {
    "n02129165": "lion",
    "n01322898": "lion cub, below lion",
    "n02222582": "Amazon ant, below slave-making ant, below ant",
    "n04253931": "soapbox, below crate",
    "n04126541": "safety curtain, below theater curtain",
    "n02110532": "liver-spotted dalmatian, below dalmatian",
    "n02109811": "sled dog, above malamute",
    "n02103406": "working dog, above sled dog",
    "n02084071": "dog, above working dog",
    "n02083346": "canine, above dog",
    "n02924116": "bus, above school bus",
    "n03467517": "guitar, above electric guitar",
    "n01976957": "crab, above king crab",
    "n00001740": "entity, above everything",
}
APART = {
    "n02129604": "tiger, beside lion below big cat",
    "n02206856": "bee, beside ant below hymenopterous insect",
    "n02109525": "Saint Bernard, beside sled dog below working dog",
    "n02106662": "German shepherd, below shepherd dog",
    "n02676566": "acoustic guitar, beside electric guitar below guitar",
    "n02895154": "breastplate, below armor plate",
    "n02691156": "airplane",
}


def below(kinds, synset):
    """Return the synset and everything below it."""
    found, todo = {synset}, [synset]
    while todo:
        new = set(kinds.get(todo.pop(), ())) - found
        found |= new
        todo += new
    return found


@pytest.mark.parametrize("synset", OVERLAPPING, ids=OVERLAPPING.get)
def test_test_class_and_its_relatives_overlap(synset):
    assert overlaps(synset)


@pytest.mark.parametrize("synset", APART, ids=APART.get)
def test_other_synsets_do_not_overlap(synset):
    assert not overlaps(synset)


def test_overlap_list_agrees_with_wordnet():
    # WNSEARCHDIR is WordNet's variable; the default is the folder of Debian's package wordnet-base.
    path = Path(os.environ.get("WNSEARCHDIR", "/usr/share/wordnet")) / "data.noun"
    if not path.is_file():
        pytest.skip("WordNet is not installed")
    kinds = {}
    for line in path.read_text("latin-1").splitlines():
        if not line.startswith("  "):
            fields = line.partition(" | ")[0].split()
            first = 5 + 2 * int(fields[3], 16)
            pointers = zip(fields[first::4], fields[first + 1 :: 4], strict=False)
            kinds["n" + fields[0]] = ["n" + to for symbol, to in pointers if symbol in ("~", "~i")]
    if "n02219486" not in kinds:
        pytest.skip("this is not WordNet 3.0")
    test = set().union(*(below(kinds, synset) for synset in read_fields("mini_imagenet_test")))
    assert {synset for synset in kinds if below(kinds, synset) & test} == set(
        read_fields("mini_imagenet_test_overlap")
    )


@pytest.mark.parametrize(
    ("name", "synset"),
    [
        ("n02691156_10151", "n02691156"),
        ("photo/airplane/n02691156_10151.jpg", "n02691156"),
        ("n02691156_10151-3.svg", "n02691156"),
        ("n0153282900000005.jpg", "n01532829"),
        ("n01440764_10026.JPEG", "n01440764"),
        ("ILSVRC2012_val_00000001.JPEG", None),
        ("my_lion_n02129165_1.jpg", None),
        ("n02129165.jpg", None),
        ("n021291650000000567.jpg", None),
        ("holiday.jpg", None),
        ("", None),
    ],
)
def test_synset_is_read_from_the_file_name(name, synset):
    assert synset_of(name) == synset


def test_overlap_rules():
    guitar, electric = ("guitar", "n02676566_10.jpg"), ("guitar", "n03272010_10.jpg")
    assert [is_allowed(rule, *guitar) for rule in ("none", "image", "class")] == [True, True, False]
    assert [is_allowed(rule, *electric) for rule in ("none", "image", "class")] == [True, False, False]
    assert is_allowed("class", "bee", "n02206856_1.jpg")
    # A user's own photos: a name without a synset, and a folder that is not a class of Sketchy.
    own, cub = ("lion", "leo.jpg"), ("my cats", "n01322898_1.jpg")
    assert [is_allowed(rule, *own) for rule in ("none", "image", "class")] == [True, True, False]
    assert [is_allowed(rule, *cub) for rule in ("none", "image", "class")] == [True, False, False]


def test_mini_imagenet_parts_share_no_class():
    lists = {part: list(read_fields(f"mini_imagenet_{part}")) for part in PARTS}
    assert {part: len(names) for part, names in lists.items()} == PARTS
    check_disjoint(lists)
    # No training or validation class is above or below a test class.
    assert [synset for part in ("train", "val") for synset in lists[part] if overlaps(synset)] == []


def test_sketchy_validation_classes_are_sketchy_classes():
    chosen = read_names("sketchy_val_classes")
    assert len(set(chosen)) == 10
    assert set(chosen) < set(read_fields("sketchy_synsets"))


@pytest.mark.parametrize("part", PARTS)
def test_class_lists_agree_with_the_data(part, real_data):
    with (real_data / "mini_imagenet" / f"{part}.csv").open() as file:
        labels = {row["label"] for row in csv.DictReader(file)}
    assert set(read_fields(f"mini_imagenet_{part}")) == labels


@pytest.fixture(scope="module")
def published(real_data):
    folder = real_data / "sketchy"
    files = ("sketchy_class_synsets", "sketchy_miniimagenet_exclusions")
    return [json.loads((folder / f"{name}.json").read_text()) for name in files]


def test_exclusions_agree_with_the_published_ones(published):
    synsets, exclusions = published
    assert {name: own.split() for name, own in read_fields("sketchy_synsets").items()} == {
        name: sorted(own) for name, own in synsets.items()
    }
    excluded = {
        name: {synset for synset in own if not is_allowed("image", name, f"{synset}_1.jpg")}
        for name, own in synsets.items()
    }
    assert {name: own for name, own in excluded.items() if own} == {
        name: set(own) for name, own in exclusions["excluded_synsets_by_class"].items()
    }
    assert overlapping_classes() == set(exclusions["excluded_classes_if_class_level"])
    assert read_fields("mini_imagenet_test") == exclusions["test_synsets"]


@pytest.mark.parametrize(("rule", "synsets"), [("image", 302), ("class", 292), ("none", 310)])
def test_kept_sketchy_photos_share_no_test_synset(rule, synsets, published):
    kept = {
        synset
        for name, own in published[0].items()
        for synset in own
        if is_allowed(rule, name, f"{synset}_1.jpg")
    }
    shared = kept & set(published[1]["test_synsets"])
    assert len(kept) == synsets
    assert (shared == set()) == (rule != "none")


def test_photo_names_contain_a_synset_of_their_class(real_data):
    synsets = read_fields("sketchy_synsets")
    with tarfile.open(real_data / "sketchy" / "sketchy.tar") as file:
        photos = [Path(name) for name in file.getnames() if name.endswith(".jpg")]
    assert {photo.parent.name for photo in photos} == set(synsets)
    assert [
        photo for photo in photos if synset_of(photo.name) not in synsets[photo.parent.name].split()
    ] == []
