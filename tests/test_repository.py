"""What holds for the repository as a whole: versions, imports, and what must never be committed."""

import ast
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "xrdclass"

# The map of the package: a module imports only from those before it, the way the data go, and so
# there is no cycle. Modules of `files` know errors and each other only; any module may ask them.
MAP = ast.get_docstring(ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")))
ORDER = re.findall(r"^(?:\d\d ?)* +([a-z_.]+)  +\S", MAP, flags=re.MULTILINE)
KNOWS_NOTHING_OF = {
    "diffraction": {"patterns"},
    "patterns": {"phases"},
    "models": {"scans", "rruff"},
    "plots": {"rruff", "models"},
}
# Modules whose distribution has another name, or that a declared distribution always brings.
DISTRIBUTION = {
    "IPython": "ipykernel",
    "PIL": "matplotlib",
    "keras": "tensorflow",
    "mpl_toolkits": "matplotlib",
    "sklearn": "scikit-learn",
    "spglib": "pymatgen",
    "yaml": "pyyaml",
}


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(*extras):
    """The declared requirements, with those of the extras."""
    project = pyproject()
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def constraints():
    """Distribution → the tested version."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    return {canonicalize_name(p.name): str(p.specifier).removeprefix("==") for p in pins}


def repository_files():
    """The files that are committed; before the first commit or without git, those that would be."""
    for options in (["--cached"], ["--others", "--exclude-standard"]):
        done = subprocess.run(["git", "ls-files", "-z", *options], cwd=ROOT, capture_output=True)
        names = done.stdout.decode().split("\0")[:-1]
        if done.returncode == 0 and names:
            return [ROOT / name for name in names if (ROOT / name).is_file()]
    found = []
    skip = {".git", ".venv", "build", "__pycache__", ".ipynb_checkpoints"}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders if f not in skip and not f.endswith(("_cache", "-info"))]
        found += [Path(folder, name) for name in names]
    return found


def texts():
    """``(name, text)`` of the committed text files."""
    for path in repository_files():
        data = path.read_bytes()
        if b"\0" not in data[:8192]:
            yield path.relative_to(ROOT).as_posix(), data.decode("utf-8", errors="replace")


def trees(path):
    """The syntax tree of a Python file, or those of a notebook's code cells."""
    if path.suffix == ".py":
        return [ast.parse(path.read_text(encoding="utf-8"))]
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    lines = [[re.sub(r"^(\s*)[%!].*", r"\1pass", s) for s in c.source.splitlines()] for c in cells]
    return [ast.parse("\n".join(source)) for source in lines]


def imported(path):
    """The top-level modules that a file imports, the standard library left out."""
    names = set()
    for node in (node for tree in trees(path) for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    local = {p.stem for p in path.parent.glob("*.py")} - {"__init__"}
    known = {"xrdclass", "tomllib"}  # tomllib is standard from Python 3.11 on
    return names - set(sys.stdlib_module_names) - known - local


def module_name(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {module_name(path) for path in PACKAGE.rglob("*.py") if path.stem != "__init__"}


def imported_from_package(path):
    """The modules of xrdclass that one of them imports, at its top or inside a function."""
    here, names = ["xrdclass", *path.relative_to(PACKAGE).parent.parts], set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            full = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            full = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        names |= {n.removeprefix("xrdclass.") for n in full}
    return names & MODULES


def test_tested_versions_satisfy_the_declared_ones():
    pins = constraints()
    for requirement in requirements("lessons", "app", "test", "scale", "site", "slides", "browser"):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin, f"constraints.txt has no version of {requirement.name}"
        assert requirement.specifier.contains(pin), f"{requirement} excludes the tested {pin}"


def test_installed_packages_fit_together():
    command = [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True)
    if "No module named pip" in done.stderr:
        pytest.skip("There is no pip in this environment to check it.")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", ["xrdclass", "xrdclass.noise", "xrdclass.__main__"])
def test_a_warning_from_our_code_is_an_error_here(module):
    with pytest.raises(RuntimeWarning):
        warnings.warn_explicit("division by zero", RuntimeWarning, "x.py", 1, module=module)


def test_environment_yml_agrees_with_pyproject_and_constraints():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["name"] == pyproject()["name"]
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    python = next(m[1] for m in (re.fullmatch(r"python=([\d.]+)", line) for line in conda) if m)
    assert Requirement(f"python{pyproject()['requires-python']}").specifier.contains(python)
    assert pip[:1] == ["-c constraints.txt"], "pip takes the tested versions from constraints.txt"
    assert "-e .[lessons,app]" in pip, "pip takes the needed packages from pyproject.toml"
    pins, declared = constraints(), {canonicalize_name(r.name): r for r in requirements("lessons")}
    names = [re.split(r"[=<>! ]", line)[0] for line in conda]
    assert set(names) <= {"python", "pip"}, "every library comes from pip, with its tested version"
    for line in (line for line in pip if not line.startswith("-")):
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        assert name in declared, f"{line}: pyproject.toml does not declare it"
        assert requirement.specifier.contains(pins[name]), f"{line}: tested is {pins[name]}"


def test_workflow_tests_the_declared_pythons():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    matrix = yaml.safe_load(text)["jobs"]["test"]["strategy"]["matrix"]["python-version"]
    allowed = Requirement(f"python{pyproject()['requires-python']}").specifier
    assert matrix == [f"3.{minor}" for minor in range(20) if allowed.contains(f"3.{minor}")]
    script = (ROOT / "tools" / "venv.sh").read_text(encoding="utf-8")
    limits = f"({matrix[0].replace('.', ', ')}) <= sys.version_info[:2] <= "
    assert f"{limits}({matrix[-1].replace('.', ', ')})" in script


def test_make_lists_at_most_ten_targets_and_pages_name_only_what_it_has():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert 5 < len(re.findall(r"^\w+:.* ## ", makefile, flags=re.M)) <= 10
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]
    pages += [ROOT / ".github" / "workflows" / "ci.yml", ROOT / ".ci" / "run"]
    for path in pages:
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"(?:`|run: |^)make ([a-z-]+)(?![\w$-])", text, flags=re.M):
            trial = ROOT / "tools" / f"{target.replace('-', '_')}.py"
            known = re.search(rf"^(?:[\w-]+ )*{target}[ :]", makefile, flags=re.M)
            assert known or trial.is_file(), f"{path.name} names make {target}"


def test_code_and_cells_of_the_lessons_are_linted_and_formatted():
    ruff = [sys.executable, "-m", "ruff"]
    version = subprocess.run([*ruff, "--version"], capture_output=True, text=True).stdout
    if version.split()[-1:] != [constraints()["ruff"]]:
        pytest.skip("Another ruff than the tested one may format otherwise.")
    for job in (["check"], ["format", "--check"]):
        done = subprocess.run([*ruff, *job, "."], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_citation_has_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == pyproject()["version"]
    assert Version(citation["version"]).base_version in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    ("pattern", "extras"),
    [
        ("xrdclass/[!w]*.py", []),
        ("xrdclass/widgets.py", ["lessons"]),
        ("notebooks/*.ipynb", ["lessons"]),
        ("benchmarks/*.py", ["lessons", "test", "scale"]),
        ("tests/*.py", ["lessons", "test"]),
        ("tools/*.py", ["lessons", "test", "browser"]),
    ],
)
def test_imports_are_declared(pattern, extras):
    declared = {canonicalize_name(r.name) for r in requirements(*extras)}
    for path in sorted(ROOT.glob(pattern)):
        needed = {canonicalize_name(DISTRIBUTION.get(name, name)) for name in imported(path)}
        assert needed <= declared, f"{path.name} imports {sorted(needed - declared)}"


def test_modules_import_in_the_order_of_the_data():
    files = {name for name in MODULES if name.startswith("files.")}
    exercises = {name for name in MODULES if name.startswith("exercises.")}
    for path in sorted(PACKAGE.rglob("*.py")):
        name, imports = module_name(path), imported_from_package(path)
        if path.stem == "__init__":
            assert not imports, f"{name} imports {sorted(imports)}"
        elif name in files:
            wrong = imports - files - {"errors"}
            assert not wrong, f"{name} imports {sorted(wrong)}"
        elif name in exercises:  # at the end: what any lesson asks about, and nothing asks for them
            assert imports <= set(ORDER) | exercises
        else:
            assert name in ORDER, f"{name} has no place in the map of xrdclass/__init__.py"
            wrong = imports - set(ORDER[: ORDER.index(name)]) - files
            wrong |= imports & KNOWS_NOTHING_OF.get(name, set())
            assert not wrong, f"{name} imports {sorted(wrong)}"


def test_the_map_of_the_package_names_what_there_is():
    files = {f"files.{name}" for name in re.findall(r"files\.(\w+)", MAP)}
    lessons = {name for name in MODULES if re.fullmatch(r"exercises\.(checking|lesson_\d\d)", name)}
    assert set(ORDER) | files | lessons == MODULES


def test_import_is_light():
    code = "import sys, xrdclass; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    heavy = {"tensorflow", "keras", "matplotlib", "pymatgen"}
    assert not heavy & set(done.stdout.split())


def test_no_file_names_a_machine_or_a_registry():
    folders = "|".join(["work/", "root/", "home/", "Users/", "tmp/bash"])
    hosts = [("pypi", "org"), ("pythonhosted", "org"), ("anaconda", "org"), ("npmjs", "org")]
    pattern = re.compile(
        rf"(?<![\w.~*$}}-])/(?:{folders})|" + "|".join(rf"\b{name}\.{end}\b" for name, end in hosts)
    )
    found = [(name, m.group()) for name, text in texts() for m in pattern.finditer(text)]
    assert not found


def test_no_scan_is_committed():
    header = re.compile(r"^##RRUFFID", flags=re.M)
    code = (".py", ".ipynb", ".md")
    found = [name for name, text in texts() if not name.endswith(code) and header.search(text)]
    assert not found, "Measured patterns are never part of the repository."


def test_no_file_is_large():
    sizes = {p.relative_to(ROOT): p.stat().st_size for p in repository_files()}
    # A shipped network may take 4.5 MB.
    limits = {name: 4.5e6 if name.suffix == ".npz" else 1e6 for name in sizes}
    assert not {name: size for name, size in sizes.items() if size > limits[name]}


def test_readme_names_both_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make tutorial" in text and "make test" in text


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "LICENSE-TEXT.md"])
def test_links_to_files_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text)
    assert not [target for target in targets if not (ROOT / target).exists()]
