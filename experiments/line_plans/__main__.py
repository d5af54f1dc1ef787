"""Make tables and figure: `python -m experiments.line_plans [--draw]`; what is done already is kept."""

import itertools
import sys

from experiments._lib import places
from experiments._lib.record import Record
from experiments.line_plans import drawing
from experiments.line_plans.config import Config
from experiments.line_plans.distributions import PAIRS
from experiments.line_plans.run import CROSSING, cell, crossing, timed, ways
from experiments.toy_table.config import LowNoise

RESULTS = places.results(__file__)


def main() -> None:
    config = Config()
    if "--draw" not in sys.argv:
        record = Record(RESULTS / "line_plans.json", config, "costs", "times", "crossings")
        record.fill(
            "costs",
            (
                {"pair": pair, "seed": seed, "way": way}
                for pair in PAIRS
                for seed in config.seeds
                for way in ways(config)
                if way != "optimal"  # of which the costs are shares
            ),
            lambda place: cell(config, **place),
        )
        record.fill(
            "times",
            (
                {"dim": dim, "count": count, "way": way}
                for dim, count in (*itertools.product(config.dims, config.sizes), *config.more)
                for way in ("lines", "optimal", "minibatch OT", "Sinkhorn")
                if count <= {"optimal": config.most_exact, "Sinkhorn": config.most_dense}.get(way, count)
            ),
            lambda place: timed(config, **place),
        )
        record.fill(
            "crossings",
            (
                {"source": source, "target": target, "seed": seed, "way": way}
                for source, target in LowNoise().columns
                for seed in config.seeds
                for way in CROSSING
            ),
            lambda place: crossing(config, **place),
        )
    drawing.draw(RESULTS / "far_plates.png")


if __name__ == "__main__":
    main()
