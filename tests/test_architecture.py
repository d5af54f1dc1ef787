"""The house: rooms import only from rooms above them, importing touches no device, documents say what is true."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "efm_jax"

LEVELS = [
    {"_types", "_checks", "_files", "_trees", "_assignment"},
    {"charges", "couplings", "widths", "clocks", "datasets", "pictures", "spaces"},
    {"fields"},
    {"points", "launches", "gaps"},
    {"matching", "networks"},
    {"training", "lines", "roaming", "checkpoint", "guidance"},
    {"sampling", "grids", "reflow", "likelihood", "runs", "metrics", "classifier", "parallel", "features"},
    {"evaluation", "comparison", "partners"},
    {
        "configs",
        "presets",
        "plans",
        "build",
        "second",
        "pipeline",
        "assessment",
        "sharing",
        "translation",
        "cli",
        "doctor",
    },
]
LEVEL = {room: i for i, rooms in enumerate(LEVELS) for room in rooms}


def imports(path: Path) -> set[str]:
    """Rooms of the package that a file imports, relative imports included."""
    found = set()
    package = ("efm_jax", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            names = [f"{module}.{a.name}" for a in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "efm_jax" and len(parts) > 1:
                found.add(parts[1])
    return found


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


SOURCES = [p for p in sorted(PACKAGE.rglob("*.py")) if p.name != "__init__.py" or p.parent != PACKAGE]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_import_only_from_rooms_above(path):
    room = room_of(path)
    if room.startswith("_") and room not in LEVEL:
        return  # a private helper belongs to the room that imports it
    for other in imports(path) - {room}:
        if other in LEVEL:
            assert LEVEL[other] <= LEVEL[room], f"{room} imports {other}, a room below it"


def private_names(path: Path) -> set[str]:
    """Underscore names that a file takes from modules that are not private themselves."""
    nodes, modules = [*ast.walk(ast.parse(path.read_text()))], {module.stem for module in SOURCES}
    named = {
        (node.module or "", alias.name)
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.level or (node.module or "").startswith("efm_jax")
    }
    rooms = {name for _, name in named if name in modules and name[0] != "_"}
    taken = {name for module, name in named if not module.rpartition(".")[2].startswith("_")} - modules
    reached = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in rooms
    }
    return {name for name in taken | reached if name.startswith("_") and not name.startswith("__")}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_private_name_stays_in_its_module(path):
    assert not private_names(path), "give it a home that may be imported: a module `_x.py`"


def test_only_checkpoint_imports_orbax():
    users = [p.name for p in SOURCES if "orbax" in p.read_text() and "import orbax" in p.read_text()]
    assert users == ["checkpoint.py"]


def test_input_is_never_checked_by_assert():
    for path in SOURCES:
        assert not any(isinstance(n, ast.Assert) for n in ast.walk(ast.parse(path.read_text()))), path


def test_importing_every_room_starts_no_backend_and_loads_no_plotting():
    rooms = ["efm_jax", *(f"efm_jax.{room}" for rooms in LEVELS for room in rooms)]
    program = (
        f"import importlib, sys\nfor name in {sorted(rooms)!r}: importlib.import_module(name)\n"
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
