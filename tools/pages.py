"""Notebooks as pages that load nothing from elsewhere, with formulas that browsers draw."""

from __future__ import annotations

import re

from latex2mathml.converter import convert
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

FUNCTION = r"\\(?:arcsin|sin|cos|tan|exp|ln|log)\b"
# No scripts; brackets grow; wide code wraps, wide output scrolls; pictures have their alt text.
TEMPLATE = """
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}
<style>
math { font-family: "Cambria Math", "STIX Two Math", "DejaVu Math TeX Gyre", math; }
.jp-Notebook .highlight pre { white-space: pre-wrap; overflow-wrap: anywhere; }
.jp-Notebook .jp-OutputArea-output, .jp-Notebook .jp-RenderedMarkdown { overflow-x: auto; }
</style>
{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block data_png scoped -%}
{%- set alt = cell.metadata.get('alt', '') | escape_html -%}
{{ super() | replace('<img ', '<img alt="' ~ alt ~ '" ') }}
{%- endblock -%}
"""


def mathml(formula, block=False):
    """MathML of a formula in LaTeX, which needs no script to be shown."""
    formula = re.sub(rf"(?<=[\w}}])\s*(?={FUNCTION})", r"\\,", formula.strip())
    formula = re.sub(rf"({FUNCTION})\s*(?=[\\\w])(?!\\(?:left|,))", r"\1\\,", formula)
    formula = re.sub(r"\\mathbf (\w)", r"\\mathbf{\1}", formula)
    return convert(formula, display="block" if block else "inline")


class Renderer(IPythonRenderer):
    """Markdown as nbconvert reads it, but for formulas."""

    def inline_math(self, body):
        return mathml(body)

    def block_math(self, body):
        return mathml(body, block=True)


def markdown(text):
    """HTML of a text in Markdown."""
    return MarkdownWithMath(renderer=Renderer(escape=False)).render(text)


def page(exporter, extends, blocks, notebook, title):
    """What an exporter of nbconvert makes of a notebook; ``blocks`` change the template further."""
    exporter.raw_template = "{%- extends '" + extends + "' -%}" + TEMPLATE + blocks
    exporter.register_filter("markdown2html", markdown)
    return exporter.from_notebook_node(notebook, {"metadata": {"name": title}})[0]
