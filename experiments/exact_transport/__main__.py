"""Make the table and the pictures: `python -m experiments.exact_transport [--draw]`; what is done already is kept."""

import itertools
import sys

from experiments._lib import places
from experiments._lib.record import Record
from experiments._lib.tables import read
from experiments.exact_transport import drawing
from experiments.exact_transport.config import Config, Far
from experiments.exact_transport.run import MAPS, far_row, perfect, row

RESULTS = places.results(__file__)


def main() -> None:
    config = Config()
    if "--draw" in sys.argv:
        drawing.draw(config, RESULTS)
        rows, far = (read(RESULTS, name)["rows"] for name in ("exact_transport", "far"))
        drawing.which_field(config, rows, far, RESULTS / "which_field.png")
        return
    record = Record(RESULTS / "exact_transport.json", config, "rows", "perfect")
    record.fill(
        "perfect",
        ({"target": target, "seed": seed} for seed in config.seeds for _, target in config.pairs),
        lambda place: perfect(config, **place),
    )
    record.fill(
        "rows",
        (
            {"source": source, "target": target, "gap": gap, "seed": seed, "map": name}
            for seed, gap, (source, target), name in itertools.product(
                config.seeds, config.gaps, config.pairs, MAPS
            )
        ),
        lambda place: row(config, *place.values()),
    )
    far = Far()
    Record(RESULTS / "far.json", far, "rows").fill(
        "rows",
        (
            {"source": source, "target": target, "seed": seed, "extra": extra}
            for (source, target), seed, extra in itertools.product(far.pairs, far.seeds, far.extra)
        ),
        lambda place: far_row(far, **place),
    )


if __name__ == "__main__":
    main()
