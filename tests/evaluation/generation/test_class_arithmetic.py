import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sketchembed.data.sources.splits import read_names
from sketchembed.errors import ConfigError
from sketchembed.evaluation.generation.class_arithmetic import parse, written

NAMES = ["cat", "circle", "ice cream", "t-shirt", "see saw", "The Mona Lisa", "snowman", "sea turtle"]
VALUES = dict(zip(NAMES, [3.5, -2.0, 7.25, 0.5, 11.0, -1.5, 4.0, 9.0], strict=True))

blanks = st.sampled_from(["", " ", "  "])


@st.composite
def terms(draw):
    """Return a term as a user may write it, and as a Python expression."""
    name = draw(st.sampled_from(NAMES))
    case = draw(st.sampled_from([str, str.upper, str.lower]))
    if draw(st.booleans()):
        return case(name), f"{VALUES[name]}"
    factor = f"{draw(st.integers(1, 99_999)) / 1000:g}"
    return f"{factor}{draw(blanks)}*{draw(blanks)}{case(name)}", f"{factor} * {VALUES[name]}"


@given(st.lists(st.tuples(st.sampled_from("+-"), blanks, terms()), min_size=1, max_size=8), st.booleans())
def test_sums_evaluate_as_in_python(parts, signed):
    text = " ".join(f"{sign}{blank}{term}" for sign, blank, (term, _) in parts)
    python = " ".join(f"{sign} {term}" for sign, _, (_, term) in parts)
    if not signed:
        text, python = f"cat {text}", f"{VALUES['cat']} {python}"
    found = sum(weight * VALUES[name] for name, weight in parse(text, NAMES).items())
    assert found == pytest.approx(eval(python), rel=1e-6, abs=1e-6)


@given(
    st.dictionaries(
        st.sampled_from([*NAMES, "Greek/character07"]), st.floats(-99, 99).map(lambda x: round(x, 3))
    ).filter(bool)
)
def test_written_sums_parse_to_the_same_weights(weights):
    names = [*NAMES, "Greek/character07"]
    assert parse(written(weights), names) == pytest.approx(weights, rel=1e-4, abs=1e-6)


def test_every_quickdraw_class_can_be_named():
    known = read_names("quickdraw_all")
    random.Random(0).shuffle(known)
    for first in range(0, len(known), 50):
        some = known[first : first + 50]
        text = " ".join(f"{'-' if number % 2 else '+'} {name}" for number, name in enumerate(some))
        assert parse(text, known) == {name: -1.0 if number % 2 else 1.0 for number, name in enumerate(some)}
        assert parse("-".join(some), known) == {
            name: -1.0 if number else 1.0 for number, name in enumerate(some)
        }


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("snowman - circle + square", {"snowman": 1, "circle": -1, "square": 1}),
        ("-circle + square", {"circle": -1, "square": 1}),
        ("snowman-circle+t-shirt", {"snowman": 1, "circle": -1, "t-shirt": 1}),
        ("t-shirt-ice  cream-t-shirt", {"t-shirt": 0, "ice cream": -1}),
        ("0.5 * ice\tcream − 3·cat", {"ice cream": 0.5, "cat": -3}),
        ("-CAT + .1*cat", {"cat": -0.9}),
        ("lion’s mane − cat", {"lion's mane": 1, "cat": -1}),
    ],
)
def test_common_spellings_of_sums_are_parsed(text, weights):
    known = ["snowman", "circle", "square", "t-shirt", "ice cream", "cat", "dog", "lion's mane"]
    assert parse(text, known) == pytest.approx(weights)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("snowman - circl + cat", "no class 'circl';.*'circle'"),
        ("snowman - t-shrt", "no class 't-shrt';.*'t-shirt'"),
        ("snowman circle", "no class 'snowman circle';.*'snowman'"),
        ("cat + ", r"no class at '\+'"),
        ("", "the sum ends"),
        ("cat + * circle", "no class"),
        ("2 cat", "no class '2 cat'.*'cat'"),
        ("cat + 2", "no class '2'"),
        ("cat * circle", r"no class 'cat \* circle'"),
        ("(cat - circle)", r"no class '\(cat';"),
        ("1e308 * cat", r"no class '1e308 \* cat'"),
        ("(" * 900 + "cat", "no class"),
        ("cat - " * 200 + "cat", "1,203 characters; expected at most 1,000"),
        ("cat +\n dgo", "no class 'dgo'; expected one of 8 classes"),
    ],
)
def test_invalid_sums_give_a_one_line_error(text, message):
    with pytest.raises(ConfigError, match=message) as found:
        parse(text, NAMES)
    assert "\n" not in str(found.value)


@given(st.text(alphabet="cat circle-+*/().0123'\"▸−\n", max_size=30))
def test_any_text_is_parsed_or_rejected(text):
    try:
        weights = parse(text, NAMES)
    except ConfigError as error:
        weights, message = {}, str(error)
    else:
        message = ""
    assert "\n" not in message
    assert set(weights) <= set(NAMES)
    assert bool(message) != bool(weights)
