"""Draw quality against minutes from the reports that are there: `python -m experiments.summary`."""

from experiments.summary import drawing
from experiments.summary.tables import RESULTS

if __name__ == "__main__":
    drawing.minutes(RESULTS, RESULTS / "summary" / "results" / "minutes.png")
