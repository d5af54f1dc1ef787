"""Write the tables of README and docs from the results: `python -m experiments.tables` (`--check` only compares).

Each experiment has a `tables.py` with two mappings from names of blocks: `TABLES` to functions that return a head and rows
of cells (None: nothing to show yet), and `VALUES` to functions that return a text. Pages hold the blocks
`<!-- table: NAME -->...<!-- end -->` and `<!-- value: NAME -->...<!-- end -->`.
"""

import importlib
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
COLUMNS, ROWS = 6, 8
"""What people read; a larger table is folded."""
BLOCK = re.compile(r"<!-- (table|value): ([^>]+?) -->.*?<!-- end -->", re.DOTALL)


def main(arguments: list[str]) -> int:
    """Fill the blocks of every page; return 1 if `--check` finds a difference."""
    differs = False
    for page in PAGES:
        old = page.read_text()
        new = render(old)
        differs |= old != new
        if "--check" not in arguments:
            page.write_text(new)
    return int(differs and "--check" in arguments)


def render(text: str) -> str:
    """Return the text with its blocks filled from the results."""
    known = blocks()

    def filled(found: re.Match) -> str:
        kind, name = found.groups()
        if (kind, name) not in known:
            raise KeyError(f"no tables.py has the block `{kind}: {name}`")
        return f"<!-- {kind}: {name} -->{known[kind, name]()}<!-- end -->"

    return BLOCK.sub(filled, text)


def blocks() -> dict[tuple[str, str], Callable[[], str]]:
    """What fills each block, found in the `tables.py` of the benchmarks and of every experiment."""
    known: dict[tuple[str, str], Callable[[], str]] = {}
    for path in (ROOT / "benchmarks" / "tables.py", *sorted(ROOT.glob("experiments/*/tables.py"))):
        if path.parent.name.startswith("_"):  # what experiments share
            continue
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        mine = {("table", name): partial(_markdown, name, make) for name, make in module.TABLES.items()}
        mine |= {("value", name): make for name, make in getattr(module, "VALUES", {}).items()}
        twice = sorted(f"{kind}: {name}" for kind, name in known.keys() & mine.keys())
        if twice:
            raise ValueError(f"blocks of two tables.py, the second {path}: {', '.join(twice)}")
        known |= mine
    return known


def _markdown(name: str, make: Callable[[], tuple[list[str], list[list[str]]] | None]) -> str:
    table = make()
    if table is None:
        return "\n\n"
    head, rows = table
    lines = [head, ["---"] * len(head), *rows]
    text = "\n" + "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"
    # reports name maps by ->; a spread stays beside its mean on a narrow screen
    text = text.replace(" -> ", " → ").replace(" ± ", "\u00a0±\u00a0")
    if len(head) <= COLUMNS and len(rows) <= ROWS:
        return text
    return f'\n<details markdown="1"><summary>Table: {name}, {len(rows)} rows</summary>\n{text}\n</details>\n'


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
