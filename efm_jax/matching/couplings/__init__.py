"""Couplings: which sample of P is paired with which sample of Q."""

from efm_jax.matching.couplings.laws import (
    Coupling,
    LabeledCoupling,
    Labels,
    Pairs,
    entropic_plan,
    given,
    independent,
    minibatch_ot,
    sinkhorn,
    whole_plan,
)

__all__ = [
    "Coupling",
    "LabeledCoupling",
    "Labels",
    "Pairs",
    "entropic_plan",
    "given",
    "independent",
    "minibatch_ot",
    "sinkhorn",
    "whole_plan",
]
