import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sketchembed.data.sources.splits import read_names
from sketchembed.errors import ConfigError
from sketchembed.evaluation.generation.class_arithmetic import parse, written

NAMES = ["cat", "circle", "ice cream", "t-shirt", "see saw", "The Mona Lisa", "snowman", "sea turtle"]
VALUES = {
    name: value for name, value in zip(NAMES, [3.5, -2.0, 7.25, 0.5, 11.0, -1.5, 4.0, 9.0], strict=True)
}

numbers = st.floats(0.01, 100).map(lambda value: f"{value:.3g}")
blanks = st.sampled_from(["", " ", "  "])


@st.composite
def names(draw):
    """A class as it may be written, and the number that stands for it."""
    name = draw(st.sampled_from(NAMES))
    form = draw(st.sampled_from(["{}", "'{}'", '"{}"']))
    case = draw(st.sampled_from([str, str.upper, str.lower]))
    return form.format(case(name)), f"({VALUES[name]})"


def larger(inner):
    """What can be made of sums: the text for the parser and the text for Python, side by side."""

    @st.composite
    def make(draw):
        kind = draw(st.sampled_from(["+", "-", "*", "right *", "/", "negative", "(", "factor"]))
        text, python = draw(inner)
        number, left, right = draw(numbers), draw(blanks), draw(blanks)
        if kind in "+-":
            other, its = draw(inner)
            # Between names a blank before the sign, or else t-shirt could be made of t and shirt.
            return f"{text} {kind}{right}{other}", f"{python} {kind} {its}"
        if kind == "negative":
            return f"-{right}({text})", f"-({python})"
        if kind == "(":
            return f"({left}{text}{right})", f"({python})"
        if kind == "factor":
            return f"({number}{left}*{right}2 - 1)*({text})", f"({number}*2-1)*({python})"
        if kind == "*":
            return f"{number}{left}*{right}({text})", f"{number} * ({python})"
        sign = kind[-1]
        return f"({text}){left}{sign}{right}{number}", f"({python}){sign}{number}"

    return make()


@given(st.recursive(names(), larger, max_leaves=12))
def test_sums_are_what_python_makes_of_them(expression):
    text, python = expression
    found = sum(weight * VALUES[name] for name, weight in parse(text, NAMES).items())
    assert found == pytest.approx(eval(python), rel=1e-6, abs=1e-6)


@given(
    st.dictionaries(
        st.sampled_from([*NAMES, "Greek/character07"]), st.floats(-99, 99).filter(bool), min_size=1
    )
)
def test_what_is_written_is_read_again(weights):
    names = [*NAMES, "Greek/character07"]
    assert parse(written(weights), names) == pytest.approx(weights, rel=1e-4)


def test_every_class_of_quickdraw_can_be_named():
    known = read_names("quickdraw_all")
    random.Random(0).shuffle(known)
    text = " ".join(f"{'-' if number % 2 else '+'} {name}" for number, name in enumerate(known))
    assert parse(text, known) == {name: -1.0 if number % 2 else 1.0 for number, name in enumerate(known)}
    assert parse("-".join(known), known) == {
        name: -1.0 if number else 1.0 for number, name in enumerate(known)
    }


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("snowman - circle + square", {"snowman": 1, "circle": -1, "square": 1}),
        ("snowman-circle+t-shirt", {"snowman": 1, "circle": -1, "t-shirt": 1}),
        ("t-shirt-ice  cream-t-shirt", {"t-shirt": 0, "ice cream": -1}),
        ("2 * 'ice cream' / 4 − cat·3", {"ice cream": 0.5, "cat": -3}),
        ("-CAT + 1e-1*cat", {"cat": -0.9}),
        ("(cat + dog) / 2", {"cat": 0.5, "dog": 0.5}),
        ("lion's mane − “cat”", {"lion's mane": 1, "cat": -1}),
    ],
)
def test_what_is_written_by_people_is_read(text, weights):
    known = ["snowman", "circle", "square", "t-shirt", "ice cream", "cat", "dog", "lion's mane"]
    assert parse(text, known) == pytest.approx(weights)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("snowman - circl + cat", "no class 'circl', at ▸ in: snowman - ▸circl \\+ cat; .*'circle'"),
        ("snowman - t-shrt", "no class 't-shrt', at ▸ in: snowman - ▸t-shrt;.*'t-shirt'"),
        ("snowmn-t-shirt", "no class 'snowmn', at ▸ in: ▸snowmn-t-shirt;.*'snowman'"),
        ("snowman circle", "no class 'snowman circle'.*'snowman'"),
        ("cat + ", "missing at the end, at ▸ in: cat \\+ ▸;"),
        ("", "missing at the end, at ▸ in: ▸;"),
        ("cat + * circle", "'\\*' is out of place, at ▸ in: cat \\+ ▸\\* circle"),
        ("2 cat", "'c' is out of place, at ▸ in: 2 ▸cat; expected \\+, -, \\*"),
        ("cat + 2", "number cannot be added to a class, at ▸ in: cat ▸\\+ 2"),
        ("2 + 3", "no class in it"),
        ("cat * circle", "cannot multiply by a class, at ▸ in: cat ▸\\* circle"),
        ("2 / cat", "cannot divide by a class"),
        ("cat / (1 - 1)", "cannot divide by 0"),
        ("(cat - circle", "parenthesis is not closed, at ▸ in: ▸\\(cat - circle"),
        ("cat - 'circle", "quote is not closed, at ▸ in: cat - ▸'circle"),
        ("cat)", "'\\)' is out of place, at ▸ in: cat▸\\)"),
        ("cat ^ 2", "'\\^' is out of place"),
        ("1e308 * 1e308 * cat", "too large"),
        ("(" * 5000 + "cat", "nested too deeply"),
        (
            "snowman + circle + cat + sea turtle + dgo + snowman + circle + cat",
            "…\\S* ?\\+ .*▸dgo .*…; expected",
        ),
        ("cat +\n dgo", "▸dgo; expected one of 8 classes"),
    ],
)
def test_mistakes_are_shown_at_their_place_in_one_line(text, message):
    with pytest.raises(ConfigError, match=message) as found:
        parse(text, NAMES)
    assert "\n" not in str(found.value)


@given(st.text(alphabet="cat circle-+*/().0123'\"▸−\n", max_size=30))
def test_anything_else_is_an_error_of_ours(text):
    try:
        weights = parse(text, NAMES)
    except ConfigError as error:
        weights, message = {}, str(error)
    else:
        message = ""
    assert "\n" not in message
    assert set(weights) <= set(NAMES)
    assert bool(message) != bool(weights)
