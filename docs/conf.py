"""How Sphinx builds these pages into a site: `make docs`. Every warning is an error there, and nothing is fetched."""

from __future__ import annotations

import importlib.metadata

project = "pgface"
release = importlib.metadata.version(project)

extensions = ["myst_parser"]
exclude_patterns = ["_build"]

# What a link leads to must exist, the part after its # too.
nitpicky = True
myst_heading_anchors = 3

# A block without a language is commands or output, and not Python.
highlight_language = "text"
smartquotes = False  # they turn the two hyphens of an option into a dash

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_use_index = False
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
