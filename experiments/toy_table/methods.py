"""The methods of the toy table: a recipe each, the form of its network, its clock."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from efm_jax import matching
from efm_jax.fields import widths
from efm_jax.lines import clocks
from efm_jax.matching import couplings, points
from efm_jax.types import Coupling, FieldMatching, Network, PointSampler
from experiments._lib.domains import flow


class Method(NamedTuple):
    """One row of the table.

    Attributes:
        recipe: `recipe(num_points)`: the recipe, so many points per step.
        form: From the plain network to the one the recipe is made for.
        clock: How lines are followed.
        charges: Charges per plate and step; None: as many as points.
        plan: Training samples that are paired at once, before training; None: the recipe couples each minibatch.
        lines: Options of `couplings.lines_plan`, by which they are paired; None: by the plan of least squared distance.
        generates: Whether lines start from noise of the recipe's own; the method stands in columns whose P is noise.
        safe: Whether the network learns what the samples add to two charges, see `matching.capacitor_network`.
        budget: Settings of the table's config that this row changes.
    """

    recipe: Callable[[int], FieldMatching]
    form: Callable[[Network, float], Network] = lambda network, gap: network
    clock: str | clocks.Clock = "linear"
    charges: int | None = None
    plan: int | None = None
    lines: Mapping[str, Any] | None = None
    generates: bool = False
    safe: bool = False
    budget: Mapping[str, Any] = MappingProxyType({})


GAP = 6.0
"""Of charges. Lines of pairs do not depend on the gap; theirs is 1, so that velocities are of the order of the data."""
OT = couplings.minibatch_ot()
GIVEN = couplings.given()
STEEP = clocks.logit(1e-3)
BLOCK = 2500
SPREAD = 2.0
"""Deviation of the data, as Poisson flow is told it in every column."""


def chain(
    gap: float = GAP,
    target: str = "robust",
    law: PointSampler | None = None,
    charges: int = 256,
    cut: float = 1.0,
    clock: clocks.Clock = STEEP,
    reach: float = 3 * GAP,
    frame: str | None = None,
    **budget: float,
) -> Method:
    """The capacitor chain, its points drawn from the flux density unless a law is given."""
    form = matching.velocity_network if target != "direction" else Method._field_defaults["form"]

    def recipe(k):
        return matching.c2fm(gap, target=target, cut=cut, frame=frame, points=law, reach=reach, num_points=k)

    return Method(recipe, form, clock, charges=charges, budget=budget)


AT = {
    "EFM, per plate": lambda gap: Method(
        lambda k: matching.efm(gap, convention="per_plate", gamma=1e-7, num_points=k), clock="sine"
    ),
    "EFM, superposed": lambda gap: Method(lambda k: matching.efm(gap, num_points=k), clock="sine"),
    "EFM, made safe": lambda gap: Method(
        lambda k: matching.efm(gap, points=points.defensive(), num_points=k), clock="sine", safe=True
    ),
    "IFM, one plan": lambda gap: Method(
        lambda k: matching.ifm(gap, width=widths.constant(0.1), coupling=GIVEN, num_points=k),
        flow,
        plan=BLOCK,
    ),
}
"""Rows at any gap."""


def tubes(**lines: Any) -> Method:
    """Straight tubes on exact lines, paired once."""
    return Method(lambda k: matching.tubes(coupling=GIVEN, num_points=k), flow, plan=BLOCK, lines=lines)


def poisson(extra: int | None, charges: int = 1024) -> Method:
    """Poisson flow by the exact mean over the charges; without extra dimensions flow matching from noise."""

    def recipe(k):
        return matching.pfgm(num_extra=extra, scale=SPREAD, num_points=k)

    def form(network, gap):
        return flow(network, gap) if extra is None else matching.tail_network(network, scale=SPREAD)

    return Method(recipe, form, charges=charges, generates=True)


METHODS = {
    "I-CFM": Method(lambda k: matching.cfm(num_points=k), flow),
    "OT-CFM": Method(lambda k: matching.cfm(coupling=OT, num_points=k), flow),
    "EFM, per plate": AT["EFM, per plate"](GAP),
    "EFM, superposed": AT["EFM, superposed"](GAP),
    "EFM, made safe": AT["EFM, made safe"](GAP),
    "C2FM": chain(),
    "C2FM, cut at 0.5": chain(cut=0.5),
    "EFM, straight tubes": tubes(),
    "EFM, straight tubes, one to one": tubes(one_to_one=True),
    "EFM, straight tubes, whitened": tubes(frame="whitened"),
    "IFM, official law": Method(
        lambda k: matching.ifm(GAP, law="official", width=widths.ramped(1.0, rate=10.0), num_points=k),
        clock="sine",
    ),
    "IFM, independent": Method(lambda k: matching.ifm(1.0, width=widths.constant(0.1), num_points=k), flow),
    "IFM, one plan": AT["IFM, one plan"](1.0),
    "CFM, one plan": Method(lambda k: matching.cfm(coupling=GIVEN, num_points=k), flow, plan=BLOCK),
    "PFGM": poisson(1),
    "PFGM++, K = 8": poisson(8),
    "PFGM++, K = infinity": poisson(None),
}
"""The rows of the table; gap, point law, charges and target of each are the same in every column."""


def _pairs(width: widths.Width, coupling: Coupling = GIVEN, charges: int | None = None) -> Method:
    plan = BLOCK if coupling is GIVEN else None
    return Method(
        lambda k: matching.ifm(1.0, width=width, coupling=coupling, num_points=k),
        flow,
        "linear",
        charges,
        plan,
    )


def _by_logit(network: Network, gap: float) -> Network:
    """`matching.velocity_network` of a network that is told `logit(z / gap)`, to a quarter, in place of the height."""

    def apply(params, points, *, key=None, cond=None):
        share = jnp.clip(points[:, -1:] / gap, 1e-4, 1 - 1e-4)
        height = gap * jax.nn.sigmoid(0.25 * jax.scipy.special.logit(share))
        return network.apply(params, jnp.c_[points[:, :-1], height], key=key, cond=cond)

    return matching.velocity_network(Network(network.init, apply), gap)


LEVERS = {
    "C2FM, unit target": chain(target="direction"),
    "C2FM, velocity cut at 4": chain(cut=4.0),
    "C2FM, velocity not cut": chain(target="velocity"),
    "C2FM, segment points": chain(target="direction", law=points.segment()),
    "C2FM, gap 3": chain(3.0),
    "C2FM, gap 12": chain(12.0),
    "C2FM, 64 charges": chain(charges=64),
    "C2FM, 1,024 charges": chain(charges=1024),
    "C2FM, launched at 2 % of the gap": chain(clock=clocks.logit(2e-2)),
    "C2FM, height as it is": chain(octaves=0),
    "C2FM, height by its logit": chain()._replace(form=_by_logit),
    "C2FM, six octaves of height": chain(octaves=6),
    "C2FM, average over 100 steps": chain(ema_decay=0.99),
    "C2FM, width 256": chain(width=256),
    "C2FM, whitened": chain(frame="whitened"),
    "C2FM, 1,000 steps": chain(steps=1000),
    "EFM, straight tubes, K = 1": tubes(extra=1),
    "EFM, straight tubes, K = 8": tubes(extra=8),
    "EFM, straight tubes, launched by flux": tubes(flux=1.0, stretch=False),
    "EFM, straight tubes, not stretched": tubes(stretch=False),
    "EFM, straight tubes, blocks of 10,000": tubes()._replace(plan=10_000),
    "EFM, straight tubes, lines of each minibatch": Method(lambda k: matching.tubes(num_points=k), flow),
    "EFM, flux points, robust velocity": Method(
        lambda k: matching.efm(
            GAP, target="robust", points=points.flux("two_plates", height="logit"), num_points=k
        ),
        matching.velocity_network,
        STEEP,
    ),
    "EFM, superposed, box points": Method(
        lambda k: matching.efm(GAP, points=points.box(), num_points=k), clock="sine"
    ),
    "IFM, official law, segment points": Method(
        lambda k: matching.ifm(
            GAP,
            law="official",
            width=widths.ramped(1.0, rate=10.0),
            points=points.segment(coupling=GIVEN),
            num_points=k,
        ),
        clock="sine",
    ),
    "IFM, minibatch plan": _pairs(widths.constant(0.1), OT),
    "IFM, one plan, 64 pairs": _pairs(widths.constant(0.1), charges=64),
    "IFM, one plan, width 1 (arch)": _pairs(widths.ramped(1.0)),
    "IFM, one plan, width 0.1 (ramps)": _pairs(widths.ramped(0.1, rate=60.0)),
    "IFM, one plan, width 0.3": _pairs(widths.constant(0.3)),
}
"""One thing changed at a time: what it buys."""
