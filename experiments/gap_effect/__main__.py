"""Make the figure: `python -m experiments.gap_effect [--draw]`; what is done already is kept."""

import itertools
import sys

from experiments._lib import places
from experiments._lib.record import Record
from experiments.gap_effect import drawing
from experiments.gap_effect.config import Config
from experiments.gap_effect.run import FAR, FIELDS, suggested

RESULTS = places.results(__file__)


def main() -> None:
    config = Config()
    record = Record(RESULTS / "gap_effect.json", config, "suggested", "rows")
    record.fill(
        "suggested",
        ({"source": source, "target": target, "seed": config.seeds[0]} for source, target in config.pairs),
        lambda place: {"gap": suggested(config, place["source"], place["target"], place["seed"])},
    )
    if "--draw" not in sys.argv:
        _fill(config, record)
    drawing.draw(record["rows"], record["suggested"], RESULTS / "gap_effect.png")


def _fill(config: Config, record: Record) -> None:
    record.fill(
        "rows",
        (
            {"source": source, "target": target, "gap": gap, "seed": seed, "field": name}
            for seed, (source, target), gap in itertools.product(
                config.seeds, config.pairs, (*config.gaps, None)
            )
            for name in (FAR if gap is None else FIELDS)
        ),
        lambda place: (FAR | FIELDS)[place["field"]](config, *list(place.values())[:4]),
    )


if __name__ == "__main__":
    main()
