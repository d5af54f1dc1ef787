"""What to train on two sets of data: method, size and network by the project's tables, steps by the time there is.

`suggest` looks at the data and chooses. `paced` measures a step on this device and fits their number, and on a fast device
the network, into the minutes given.
"""

from efm_jax.models.suggestions._choosing import Suggestion, suggest
from efm_jax.models.suggestions._looking import Side
from efm_jax.models.suggestions._pacing import FEWEST_STEPS, Timing, measured, of_steps, paced
from efm_jax.models.suggestions._telling import described, earlier_run, expected, new_folder

__all__ = [
    "FEWEST_STEPS",
    "Side",
    "Suggestion",
    "Timing",
    "described",
    "earlier_run",
    "expected",
    "measured",
    "new_folder",
    "of_steps",
    "paced",
    "suggest",
]
