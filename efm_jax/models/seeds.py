"""The streams of random numbers that stand apart from a run's own seed."""

__all__ = ["PLANS", "REFLOW", "REPORTS", "SPACES"]

REPORTS = 20_000
PLANS = 30_000
SPACES = 40_000
REFLOW = 40_000
