"""Sphinx configuration of the documentation. `make docs` builds it; a warning is an error."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]

project = "sketchembed"
copyright = "the authors of sketchembed"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "mathml",
    "generated_reference",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]

# Markdown. `colon_fence` keeps directives apart from code blocks, which a test executes.
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
# A test executes the notebooks. The build shows the outputs that they contain.
nb_execution_mode = "off"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_preprocess_types = False

html_theme = "furo"
html_title = "sketchembed"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
