"""Which distributions, how many samples, which ways to pair them."""

from dataclasses import dataclass

TUBES = 2500
"""Training samples a side of the toy table whose tubes are looked at: those it pairs at a time."""
WIDTH = 0.1
"""Of these tubes."""


@dataclass(frozen=True)
class Config:
    """Everything a result of this experiment depends on."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Each with samples of its own."""
    count: int = 1024
    """Samples of P, of Q, and fresh samples of Q."""
    sizes: tuple[int, ...] = (1000, 2500, 5000, 10_000)
    """Samples a side of which the time is taken."""
    dims: tuple[int, ...] = (2, 8, 64)
    """Their dimensions."""
    more: tuple[tuple[int, int], ...] = ((8, 50_000),)
    """Further dimensions and sizes, timed for ways that can."""
    block: int = 256
    """Rows of the minibatches of `minibatch OT`."""
    most_exact: int = 10_000
    """Most samples a side of the optimal plan, whose time grows like their cube."""
    most_dense: int = 5000
    """Most samples a side of Sinkhorn's plan, whose memory grows like their square."""
