"""Render the Jinja2 templates in ``web/`` to HTML pages that need no network."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from sketchembed.files.writing import whole_file


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Render a template of ``web/`` and replace an HTML file by the result; return the file's path."""
    with whole_file(path) as file:
        # A name from JSON may contain half of a surrogate pair, which UTF-8 cannot encode.
        file.write(render(template, **values).encode("utf-8", "replace"))
    return path


def render(template: str, **values: Any) -> str:
    """Return a template of ``web/`` as HTML; all text in `values` is escaped."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("sketchembed.reporting", "web"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.globals["source"] = _source
    made.filters["script_json"] = _script_json
    made.filters["inline_markup"] = _inline_markup
    return made


@cache
def _source(name: str) -> Markup:
    """Return a style sheet or script of the package, unescaped."""
    return Markup(resources.files("sketchembed.reporting").joinpath("web", name).read_text("utf-8"))


def finite_json(value: Any) -> Any:
    """Return JSON values with None in place of NaN and infinity, which are not JSON."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)


def _script_json(text: str) -> Markup:
    """Return JSON that is safe within a script element, which only "<" can end."""
    return Markup(text.replace("<", "\\u003c"))


def _inline_markup(text: str) -> Markup:
    """Return text as HTML, with `code` in backticks and *emphasis* between asterisks."""
    html = []
    for place, part in enumerate(re.split(r"`([^`]+)`", str(escape(text.strip())))):
        html.append(f"<code>{part}</code>" if place % 2 else re.sub(r"\*(\w[^*]*)\*", r"<em>\1</em>", part))
    return Markup("".join(html))
