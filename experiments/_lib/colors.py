"""Colors of all figures: P, Q and lines as in `efm_jax.evaluation.drawing`, and one color a method.

Those of methods differ for the color-blind too (Okabe and Ito 2008, "Color universal design").
"""

from efm_jax.evaluation import drawing

P, Q, END, LINE = drawing.SOURCE, drawing.TARGET, drawing.END, "#555555"
TWO_PLATES, PER_PLATE, ALL_DIRECTIONS = "#333333", "#e69f00", "#56b4e9"
CHAIN, FAR_PLATES, PAIRS = "#009e73", "#cc79a7", "#d55e00"
FLOW_MATCHING = "#0072b2"
