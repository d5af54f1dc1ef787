"""Results that keep what is done: one json file of rows, written whole or not at all after each of them."""

import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from efm_jax._core.versions import versions


class Record:
    """Tables of rows beside the configuration and the versions they were made with.

    Opened again with the same configuration it holds the rows that were made before, so that a program cut short goes on
    where it stopped; another configuration is refused. Settings in tuples say what to run and may change; any other must be
    as it was. A row made with other versions than the first says with which.
    """

    def __init__(self, path: Path, config: Any, *tables: str):
        """Open `path`, or begin it, with these tables; `config` is a dataclass."""
        self.path = path
        self.report = {"config": json.loads(json.dumps(dataclasses.asdict(config))), "versions": versions()}
        self.report |= {table: [] for table in tables}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            old = json.loads(path.read_text())
            if _fixed(old["config"]) != _fixed(self.report["config"]):
                raise SystemExit(f"{path} was made with another configuration; move it away first")
            self.report |= {"versions": old["versions"]} | {table: old.get(table, []) for table in tables}

    def __getitem__(self, table: str) -> list[dict[str, Any]]:
        return self.report[table]

    def has(self, table: str, **place: Any) -> bool:
        """Whether a row of that place is there."""
        return any(row.items() >= place.items() for row in self.report[table])

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Append a row and write everything."""
        if (now := versions()) != self.report["versions"]:
            row = row | {"versions": now}
        self.report[table].append(row)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.report, indent=1) + "\n")
        new.replace(self.path)

    def fill(
        self,
        table: str,
        places: Iterable[dict[str, Any]],
        make: Callable[[dict[str, Any]], dict[str, Any]],
        each: Callable[..., Iterable[dict[str, Any]]] = map,
    ) -> None:
        """Add `place | make(place)` for every place that has no row yet, with a progress bar; `each` maps over them."""
        left = []
        for place in places:
            if place not in left and not self.has(table, **place):
                left.append(place)
        bar = tqdm(zip(left, each(make, left), strict=True), total=len(left))
        for place, row in bar:
            self.add(table, place | row)
            bar.set_description(" ".join(map(str, place.values())))


def _fixed(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if not isinstance(value, list)}
