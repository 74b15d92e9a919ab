"""The settings with which Sphinx builds these pages: `make docs`. Every warning is an error, and nothing is fetched."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from sphinx.application import Sphinx

project = "pgface"
release = importlib.metadata.version(project)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

# The target of a link must exist, also the part after its #.
nitpicky = True
# The types of other projects have no page here, and neither have private types of pgface.
nitpick_ignore_regex = [("py:.*", r"(?!pgface\.[A-Z]).*")]
myst_heading_anchors = 3

autodoc_typehints_format = "short"
autodoc_class_signature = "separated"

# In docstrings, names are in single backticks.
default_role = "code"

# A block without a language has commands or output, not Python.
highlight_language = "text"
smartquotes = False  # they turn the two hyphens of an option into a dash

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_search_scorer = str(Path(__file__).with_name("search_scorer.js"))
html_use_index = False
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False


def remove_module_docstring(
    _app: object, what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Remove the docstring of a module, because the page has its own introduction."""
    if what == "module":
        lines.clear()


def setup(app: Sphinx) -> None:
    """Register the hook with Sphinx."""
    app.connect("autodoc-process-docstring", remove_module_docstring)
