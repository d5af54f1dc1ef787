"""Couplings: which sample of P is paired with which sample of Q.

A coupling is a pure function `(key, x_pos [n, D], x_neg [m, D], num_pairs) -> (i [k], j [k])` of row indices. Each pair
by itself follows the plan; `independent` draws them independently of each other. The others go through all samples they
can pair, in random order, before they take one again.

With labels, `couple(key, x_pos, x_neg, num_pairs, labels=(labels_pos [n], labels_neg [m]))`, pairs join equal labels
only. A sample whose label does not occur on the other side is left out. If no label occurs on both sides there are no
pairs: a ValueError where that can be seen, and under `jit` all indices are -1.
"""

from efm_jax.matching.couplings._exact import minibatch_ot, whole_plan
from efm_jax.matching.couplings._field_lines import field_lines, lines_plan
from efm_jax.matching.couplings._simple import given, independent
from efm_jax.matching.couplings._sinkhorn import entropic_plan, sinkhorn
from efm_jax.types import Coupling, LabeledCoupling, Labels, Pairs

__all__ = [
    "Coupling",
    "LabeledCoupling",
    "Labels",
    "Pairs",
    "entropic_plan",
    "field_lines",
    "given",
    "independent",
    "lines_plan",
    "minibatch_ot",
    "sinkhorn",
    "whole_plan",
]
