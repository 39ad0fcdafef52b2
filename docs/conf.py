"""Settings of Sphinx."""

import sys
from pathlib import Path

# the packages of this checkout, whether or not it is installed
sys.path.insert(0, str(Path(__file__).parents[1]))

import labelnoise

project = "graphnoise"
author = "the graphnoise authors"
release = version = labelnoise.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "graphnoise"
# docstrings write names between single backticks, as Markdown does
default_role = "literal"

myst_enable_extensions = ["fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
# NumPy's array types fill lines; dtypes and shapes are in the descriptions
autodoc_typehints = "none"
# settings are data: their defaults are read from the signature
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Source"]
