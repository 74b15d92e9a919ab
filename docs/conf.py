"""Sphinx configuration of the documentation site. `make docs` builds it offline and treats each warning as an error."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from sphinx.application import Sphinx

project = "pgface"
release = importlib.metadata.version(project)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

# Links must lead to an existing page and heading.
nitpicky = True
# Types of other projects and private types of pgface have no page here.
nitpick_ignore_regex = [("py:.*", r"(?!pgface\.[A-Z]).*")]
myst_heading_anchors = 3

autodoc_typehints_format = "short"
autodoc_class_signature = "separated"

# Docstrings write names in single backticks.
default_role = "code"

# A block without a language contains commands or output, not Python.
highlight_language = "text"
smartquotes = False  # would turn the two hyphens of an option into a dash

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_search_scorer = str(Path(__file__).with_name("search_scorer.js"))
html_use_index = False
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False


def omit_module_docstring(
    _app: object, what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Leave out the docstring of a module, because the page has its own introduction."""
    if what == "module":
        lines.clear()


def setup(app: Sphinx) -> None:
    """Register the event handlers with Sphinx."""
    app.connect("autodoc-process-docstring", omit_module_docstring)
