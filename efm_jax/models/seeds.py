"""Seeds of what is drawn besides the steps of training; a run's own seed is far below them."""

__all__ = ["MOST", "PLANS", "REFLOW", "REPORTS"]

MOST = 2**63 - 1
"""The largest that a random key takes."""

REPORTS = 20_000
"""Of the samples and noise of reports, whatever the run's seed: all runs are scored on the same inputs."""

PLANS = 30_000
"""Of what stands for a whole training set (colors, samples of a distribution without end), the same for all runs."""

REFLOW = 40_000
"""With the run's seed, of the samples whose lines a reflow follows; `datasets.spaces` begins with the same number, but
reflow refuses components."""
