"""Scripts outside the package, as modules that tests can look into, and what they write."""

import importlib.util
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOADS = (
    r"<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=[\"'](?:https?:)?//[^\"']+",
    r"<link\b(?![^>]*rel=[\"'](?:canonical|license)[\"'])[^>]*\bhref=[\"'](?:https?:)?//[^\"']+",
    r"url\([\"']?(?:https?:)?//[^)]+",
    r"@import\s+[\"'](?:https?:)?//[^\"']+",
    r"\bimport\b[^;\n]{0,80}[\"']https?://[^\"']+",
)


def load_script(path):
    """The module that a script is; ``path`` is relative to the repository."""
    folder = str((ROOT / path).parent)
    if folder not in sys.path:  # where Python looks first when it runs the script
        sys.path.append(folder)
    name = path.removesuffix(".py").replace("/", "_")
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def loaded_from_elsewhere(text):
    """The first things that a page, a style or a script loads from another host."""
    return [match.group()[:200] for load in LOADS for match in re.finditer(load, text)][:3]


def formulas(page):
    """The formulas of a page; fails if one is still in LaTeX, or holds a word of LaTeX."""
    text = re.sub(r"<(pre|script|style|code)\b.*?</\1>", "", page, flags=re.S)
    assert not re.search(r"\$[^$<]*\\\w+[^$<]*\$|\\theta", text), "a formula in LaTeX"
    found = re.findall(r"<math\b.*?</math>", text, flags=re.S)
    assert not [formula for formula in found if "\\" in formula]
    return found
