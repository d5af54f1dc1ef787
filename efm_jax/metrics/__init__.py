"""Distances between two sets of samples, and the energy of the paths between them.

Every metric takes arrays [n, D] (NumPy or JAX), computes in float64 on the host and returns Python floats.
The distance between two finite sets from one distribution is not zero. Print its floor next to each: the same metric between
two sets of real samples of the same sizes.
"""

from efm_jax.metrics.kernels import KernelDistance, energy_distance, kid, mmd
from efm_jax.metrics.neighbors import Copies, Neighborhood, copies, nearest, neighborhood
from efm_jax.metrics.paths import normalized_path_energy, path_curvature, path_energy
from efm_jax.metrics.retrieval import Retrieval, retrieval
from efm_jax.metrics.transport import frechet_distance, sliced_wasserstein2, wasserstein2

__all__ = [
    "Copies",
    "KernelDistance",
    "Neighborhood",
    "Retrieval",
    "copies",
    "energy_distance",
    "frechet_distance",
    "kid",
    "mmd",
    "nearest",
    "neighborhood",
    "normalized_path_energy",
    "path_curvature",
    "path_energy",
    "retrieval",
    "sliced_wasserstein2",
    "wasserstein2",
]
