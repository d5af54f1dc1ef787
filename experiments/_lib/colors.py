"""Colors of all figures: P, Q and lines as in `efm_jax.evaluation.drawing`, and one color a method.

Those of methods differ for the color-blind too (after Okabe and Ito 2008, "Color universal design"). Their lightness is
near the middle, so that they are seen on white and on the dark ground of `experiments.dark`.
"""

from efm_jax.evaluation import drawing

P, Q, END, LINE = drawing.SOURCE, drawing.TARGET, drawing.END, "#555555"
TWO_PLATES, PER_PLATE, ALL_DIRECTIONS = "#333333", "#e69f00", "#1f9ce0"
CHAIN, FAR_PLATES, PAIRS = "#009e73", "#b9478c", "#d55e00"
FLOW_MATCHING = "#0072b2"


def named(source: str, target: str) -> str:
    """What figures call a pair of toys, e.g. `Gaussian → eight Gaussians`."""
    names = {"gaussian:2": "Gaussian", "swiss_roll": "Swiss roll"}
    return " → ".join(names.get(name, name.replace("_g", " G")) for name in (source, target))
