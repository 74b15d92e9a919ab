"""How Sphinx builds these pages into a site: `make docs`. Every warning is an error there, and nothing is fetched."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from sphinx.application import Sphinx

project = "pgface"
release = importlib.metadata.version(project)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

# The target of a link must exist, and so must the part after its #.
nitpicky = True
# Types of other projects, whose pages are elsewhere, and of pgface that are not public.
nitpick_ignore_regex = [("py:.*", r"(?!pgface\.[A-Z]).*")]
myst_heading_anchors = 3

autodoc_typehints_format = "short"
autodoc_class_signature = "separated"

# In docstrings, names stand in single backticks.
default_role = "code"

# A block without a language is commands or output, and not Python.
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


def without_the_module(
    _app: object, what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Leave out the text of a module, which a page introduces in its own words."""
    if what == "module":
        lines.clear()


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", without_the_module)
