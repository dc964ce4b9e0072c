"""Reading SVG: lines and curves follow the standard; anything else is an error that names the file."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import svgpathtools
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from sketchembed.errors import DataError
from sketchembed.sketch import Sketch
from sketchembed.sketch.svg import read_strokes


def svg(body: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg">{body}</svg>'


def read(body: str) -> list[list[list[float]]]:
    return [stroke.tolist() for stroke in Sketch.from_svg(svg(body)).strokes]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("M1 2L3 4", [[[1, 2], [3, 4]]]),
        ("M1,2 3,4 5,6", [[[1, 2], [3, 4], [5, 6]]]),
        ("m1,2 3,4", [[[1, 2], [4, 6]]]),
        ("m1,2 l3,4 m1,1 l1,0", [[[1, 2], [4, 6]], [[5, 7], [6, 7]]]),
        ("M1-2.5L-.5+3", [[[1, -2.5], [-0.5, 3]]]),
        ("M0 0H5V6h-1v-2", [[[0, 0], [5, 0], [5, 6], [4, 6], [4, 4]]]),
        ("M0 0H1 2 3", [[[0, 0], [1, 0], [2, 0], [3, 0]]]),
        ("M1 1L3 1L3 3Z", [[[1, 1], [3, 1], [3, 3], [1, 1]]]),
        ("M1 1L3 1zm1 1l1 0", [[[1, 1], [3, 1], [1, 1]], [[2, 2], [3, 2]]]),
        ("M1 1L3 1zl0 5", [[[1, 1], [3, 1], [1, 1], [1, 6]]]),
        (" M 7 7 , ", [[[7, 7]]]),
        ("", []),
    ],
)
def test_path_commands(data, expected):
    assert read(f'<path d="{data}"/>') == expected


def test_path_numbers_may_touch():
    assert read('<path d="M1.5.5-2e1.25"/>') == [[[1.5, 0.5], [-20, 0.25]]]


def test_other_shape_elements():
    body = """<rect width="9" height="9"/><defs><path d="M0 0L9 9"/></defs>
    <g><polyline points="0,0 1,0 1,1"/><polygon points="0 0 1 0 1 1"/></g>
    <line x1="1" x2="2" y2="3"/><text>M</text>"""
    triangle = [[0, 0], [1, 0], [1, 1]]
    assert read(body) == [triangle, [*triangle, [0, 0]], [[1, 0], [2, 3]]]


@pytest.mark.parametrize(
    "body",
    [
        '<path d="M0 0B1 1 2 2 3 3"/>',
        '<path d="M0 0C1 1 2 2 3"/>',
        '<path d="M0 0A1 1 0 2 0 3 3"/>',
        '<path d="M0 0A1 1 0 0 3 3"/>',
        '<path d="M0 0Q1e999 1 3 3"/>',
        '<path d="M0 0C1e999 1 2 2 3 3"/>',
        '<path d="M0 0L1"/>',
        '<path d="M0 0L"/>',
        '<path d="M0 0Z5"/>',
        '<path d="L1 1"/>',
        '<path d="Z"/>',
        '<path d="1 1"/>',
        '<path d="M0 0 # 1 1"/>',
        '<path d="MNaN 0"/>',
        '<path d="M1e999 0"/>',
        '<polyline points="1 2 3"/>',
        '<polygon points="a b"/>',
        '<polyline points="1e999,0 1,1"/>',
        '<line x1="ten"/>',
        '<line x1="10%"/>',
        '<line x1=""/>',
        '<line x1="inf"/>',
        '<g transform="scale(2)"><path d="M0 0L1 1"/></g>',
    ],
)
def test_unsupported_or_invalid_svg_raises(body):
    with pytest.raises(DataError, match="the SVG text has"):
        read(body)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe",
        b"<svg><path",
        b"<html><body/></html>",
        b'<?xml version="1.0" encoding="klingon"?><svg/>',
        b'<!DOCTYPE s [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><svg>&c;</svg>',
        b'<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
    ],
)
def test_invalid_svg_file_error_names_the_file(tmp_path, content):
    path = tmp_path / "odd.svg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"odd\.svg"):
        Sketch.from_svg(path)


def test_missing_file_and_folder_raise(tmp_path):
    for path in (tmp_path / "none.svg", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            Sketch.from_svg(path)


def test_utf_16_svg_is_read(tmp_path):
    text = '<?xml version="1.0" encoding="utf-16"?>' + svg('<path d="M1 2"/>')
    (tmp_path / "wide.svg").write_bytes(text.encode("utf-16"))
    np.testing.assert_array_equal(Sketch.from_svg(str(tmp_path / "wide.svg")).points, [[1, 2]])


def test_deep_nesting_and_many_points_are_read():
    deep = svg("<g>" * 20_000 + '<path d="M1 2"/>' + "</g>" * 20_000)
    assert len(Sketch.from_svg(deep)) == 1
    long = svg(f'<path d="M0 0{" 1 1" * 50_000}"/>')
    assert len(Sketch.from_svg(long)) == 50_001


def hausdorff_distance(path: str) -> float:
    """Return the Hausdorff distance between the stroke that is read and the path of svgpathtools."""
    (stroke,) = Sketch.from_svg(svg(f'<path d="{path}"/>')).strokes
    places = [part.point(t) for part in svgpathtools.parse_path(path) for t in np.linspace(0, 1, 300)]
    wanted = np.stack([np.real(places), np.imag(places)], axis=-1)
    np.testing.assert_allclose(stroke[[0, -1]], wanted[[0, -1]], atol=1e-9)
    there, back = cKDTree(resampled(wanted)).query(stroke)[0], cKDTree(resampled(stroke)).query(wanted)[0]
    return float(max(there.max(), back.max()))


def resampled(line: np.ndarray) -> np.ndarray:
    """Return a polyline with more points, at most a quarter of a unit apart."""
    return np.concatenate(
        [
            np.linspace(here, there, int(4 * np.linalg.norm(there - here)) + 2)
            for here, there in pairwise(line)
        ]
    )


@pytest.mark.parametrize(
    "path",
    [
        "M10 10C20 90 80 90 90 10",
        "m10,10c10,80 70,80 80,0s60-40 20-60",
        "M0 0Q50 80 100 0T200 0t20-30",
        "M10 80Q52 10 95 80L120 90T180 80",
        "M10 80C40 10 65 10 95 80V20S150 150 180 80",
        "M10 315A30 50 0 0 1 162 162",
        "M10 315a60 30-45 1 0 40 40",
        "M80 80a45 45 0 00125 125",
        "M80 80A45 20 30 1125-90",
    ],
)
def test_curves_agree_with_svgpathtools(path):
    assert hausdorff_distance(path) < 0.5


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-200, 200)] * 6), min_size=1, max_size=4), st.sampled_from("CcQqSs"))
def test_random_curves_agree_with_svgpathtools(groups, command):
    count = {"C": 6, "S": 4, "Q": 4}[command.upper()]
    numbers = " ".join(str(value) for group in groups for value in group[:count])
    assert hausdorff_distance(f"M3 4{command}{numbers}") < 0.5


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(*[st.integers(1, 150)] * 2),
    st.integers(-180, 180),
    st.booleans(),
    st.booleans(),
    st.tuples(*[st.integers(-100, 100)] * 2).filter(any),
)
def test_random_arcs_agree_with_svgpathtools(radii, turn, large, sweep, end):
    path = f"M0 0A{radii[0]} {radii[1]} {turn} {large:d} {sweep:d} {end[0]} {end[1]}"
    assert hausdorff_distance(path) < 0.5


def test_arcs_of_zero_length_or_zero_radius():
    assert read('<path d="M1 1A5 5 0 0 1 1 1L2 2A0 5 0 0 1 4 4"/>') == [[[1, 1], [2, 2], [4, 4]]]


@pytest.mark.parametrize("radius", ["1e-320", "1e-300", "0.0000000001"])
def test_arc_of_tiny_radius_is_a_line(radius):
    for radii in (f"{radius} {radius}", f"{radius} 5", f"5 {radius}"):
        (stroke,) = read_strokes(f'<svg><path d="M 1 2 A {radii} 30 0 1 7 9"/></svg>')
        np.testing.assert_allclose(stroke, [[1, 2], [7, 9]])
