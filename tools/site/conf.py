"""Sphinx settings of the site that build.py makes. Nothing runs a notebook or needs a network."""

from docutils import nodes
from pages import mathml

project = "xrdclass"
author = "The xrdclass authors"
copyright = "the xrdclass authors; text and figures CC BY 4.0"
html_title = "xrdclass: teach a neural network to read powder XRD"

extensions = ["myst_nb"]
exclude_patterns = ["conf.py"]
nb_execution_mode = "off"  # stored outputs only
nb_render_markdown_format = "gfm"
nb_ipywidgets_js = {}  # pictures stand in for sliders, and their scripts would come from elsewhere
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["mystnb.unknown_mime_type", "myst.header"]

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_search_summary = False  # it would be fetched page by page, which files on a disk refuse
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
}
html_math_renderer = "mathml"


def _inline(translator, node):
    translator.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def _block(translator, node):
    formula = mathml(node.astext(), block=True)
    translator.body.append(f'<div class="formula">{formula}</div>\n')
    raise nodes.SkipNode


def setup(app):
    """Formulas as MathML, which browsers draw themselves: no MathJax to load."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
