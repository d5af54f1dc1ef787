"""Electrostatic Field Matching in JAX: samples in, charges on two plates, field lines out.

The rooms, in the order data flows: `charges`, `couplings`, `fields`, `points`, `matching`, `networks`, `training`,
`lines`, `sampling`, `metrics`. Importing this package starts no backend and loads no plotting library.
"""

__version__ = "0.1.0"
