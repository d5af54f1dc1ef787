"""The structure of the package: imports point down, private files stay in their module, importing touches no device."""

import ast
import functools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "efm_jax"

ORDER = (
    "types",
    "_core",
    "datasets",
    "charges",
    "checkpoint",
    "networks",
    "metrics",
    "fields",
    "matching",
    "lines",
    "evaluation",
    "training",
    "parallel",
    "sampling",
    "models",
    "runs",
    "_doctor",
    "cli",
)
"""Every module and folder of the package, lowest first: each imports only from those before it."""

ROOT_FILES = {"__init__.py", "types.py", "checkpoint.py", "parallel.py", "_doctor.py", "py.typed"}


def modules(package: Path) -> dict[str, Path]:
    """Files of a package by their dotted names."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = ["efm_jax", *path.relative_to(package).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that a file imports: anywhere in it, relative or not, for type checkers alone or not."""
    folder = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found = set()
    for node in _imports_in(path.read_text()):
        if isinstance(node, ast.Import):
            named = [a.name for a in node.names]
        else:
            base = ".".join(folder[: len(folder) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            named = [f"{module}.{a.name}" for a in node.names]
        for full in named:
            if full.split(".")[0] == "efm_jax":
                base = full.rpartition(".")[0]
                short = base == "efm_jax" and not full.endswith(
                    "__version__"
                )  # a short name of `efm_jax.__init__`
                found.add(full if full in known or short else base)
    return found - {name}


@functools.cache  # most files are those of the test before
def _imports_in(text: str) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]


def room(name: str) -> str:
    """The module or folder in the root of the package that a file belongs to."""
    return name.split(".")[1]


def violations(package: Path) -> list[str]:
    """What in a package breaks the rules of its structure."""
    known, found = modules(package), []
    present = {path.name for path in package.iterdir() if path.is_file()}
    found += [
        f"efm_jax/{name} is not on the list of files in the root" for name in sorted(present - ROOT_FILES)
    ]
    folders = {room(name) for name in known if name != "efm_jax"} - {Path(f).stem for f in present}
    found += [f"efm_jax/{name}/ is not in ORDER" for name in sorted(folders - set(ORDER))]
    for name, path in known.items():
        if name == "efm_jax":
            continue
        for other in sorted(imports(name, path, known) - {"efm_jax"}):
            if other not in known:
                found.append(f"{name} imports {other} by a short name; write its whole path")
                continue
            if room(other) != room(name):
                known_rooms = room(name) in ORDER and room(other) in ORDER
                if not known_rooms or ORDER.index(room(other)) > ORDER.index(room(name)):
                    found.append(f"{name} imports {other}, which is above it")
            for depth, part in enumerate(other.split(".")):
                owner = ".".join(other.split(".")[:depth])
                if part.startswith("_") and not f"{name}.".startswith(f"{owner}."):
                    found.append(f"{name} imports {other}, which is private to {owner}")
    return found


@pytest.mark.smoke
def test_imports_point_down_and_private_files_stay_in_their_module():
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("fields/point_charges.py", "from efm_jax import sampling", "efm_jax.sampling, which is above it"),
        (
            "_core/files.py",
            "from efm_jax.lines.clocks import sine",
            "efm_jax.lines.clocks, which is above it",
        ),
        ("lines/clocks.py", "from ..training import step", "efm_jax.training.step, which is above it"),
        ("lines/clocks.py", "from efm_jax.fields import _sums", "private to efm_jax.fields"),
        ("models/build/_recipe.py", "import efm_jax.fields._sums.plates", "private to efm_jax.fields"),
        (
            "charges/plates.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from efm_jax.runs import fit",
            "efm_jax.runs, which is above it",
        ),
        ("charges/plates.py", "from efm_jax import grids", "by a short name"),
        ("leftovers.py", "", "efm_jax/leftovers.py is not on the list"),
        ("_helpers.py", "", "efm_jax/_helpers.py is not on the list"),
        ("attic/__init__.py", "", "efm_jax/attic/ is not in ORDER"),
    ],
)
def test_a_planted_fault_is_found(tmp_path, file, line, broken):
    package = tmp_path / "efm_jax"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "*.npz", "*.safetensors"))
    before, path = violations(package), package / file
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")
    new = [fault for fault in violations(package) if fault not in before]
    assert len(new) == 1, new
    assert broken in new[0]


def test_files_import_each_other_in_no_circle():
    known = modules(PACKAGE)
    # the package's own __init__ names its modules without importing them
    left = {
        name: imports(name, path, known) - {"efm_jax"} for name, path in known.items() if name != "efm_jax"
    }
    while free := {name for name, needs in left.items() if not needs & left.keys()}:
        left = {name: needs for name, needs in left.items() if name not in free}
    assert not left, f"circles among {sorted(left)}"


SOURCES = [path for name, path in modules(PACKAGE).items() if name != "efm_jax"]


def private_names(path: Path) -> set[str]:
    """Underscore names that a file takes from modules that are not private themselves."""
    nodes, stems = [*ast.walk(ast.parse(path.read_text()))], {module.stem for module in SOURCES}
    named = {
        (node.module or "", alias.name, alias.asname or alias.name)
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.level or (node.module or "").startswith("efm_jax")
    }
    imported = {known_as for _, name, known_as in named if name in stems and name[0] != "_"}
    taken = {name for module, name, _ in named if not module.rpartition(".")[2].startswith("_")} - stems
    reached = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imported
    }
    return {name for name in taken | reached if name.startswith("_") and not name.startswith("__")}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_private_name_stays_in_its_file(path):
    assert not private_names(path), (
        "give it a home that may be imported: a private file `_x.py` of the module"
    )


def test_pages_and_examples_import_nothing_private():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    examples = {
        path: "\n".join(re.findall(r"^ *(?:>>>|\.\.\.) (.*)$", path.read_text(), re.M)) for path in SOURCES
    }
    for path, text in {**{page: page.read_text() for page in pages}, **examples}.items():
        assert not re.search(r"efm_jax\.(?:\w+\.)*_[a-z]|from efm_jax[\w.]* import _", text), path


def test_only_checkpoint_imports_orbax():
    users = [p.name for p in SOURCES if "import orbax" in p.read_text()]
    assert users == ["checkpoint.py"]


def test_input_is_never_checked_by_assert():
    for path in SOURCES:
        assert not any(isinstance(n, ast.Assert) for n in ast.walk(ast.parse(path.read_text()))), path


def test_importing_every_module_starts_no_backend_and_loads_no_plotting():
    names = sorted(name for name in modules(PACKAGE) if name != "efm_jax.__main__")
    program = (
        f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
        "from jax._src import xla_bridge\n"
        "print(bool(xla_bridge._backends), 'matplotlib' in sys.modules, 'tensorboardX' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert out.stdout.split() == ["False", "False", "False"]


def test_the_pages_show_the_results_as_they_are():
    from experiments.tables import PAGES, render

    for page in PAGES:
        assert render(page.read_text()) == page.read_text(), (
            f"{page.name}: run `python -m experiments.tables`"
        )


def test_pictures_of_the_readme_are_there():
    import re

    for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).is_file(), target


def test_ci_runs_the_test_command_of_the_readme():
    import re

    readme = (ROOT / "README.md").read_text()
    command = re.search(r"<!-- command: tests -->\n```bash\n(.+)\n```", readme)
    assert command
    assert "pytest" in command.group(1)


def test_rooms_are_there_by_their_name_and_loaded_when_it_is_said():
    program = (
        "import sys, efm_jax; before = 'efm_jax.fields' in sys.modules; efm_jax.fields.coulomb; efm_jax.charges.plate\n"
        "print(before, 'metrics' in dir(efm_jax), hasattr(efm_jax, 'feilds'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == ["False", "True", "False"]
