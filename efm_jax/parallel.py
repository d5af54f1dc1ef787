"""Many devices and hosts: charges split over a mesh or streamed from the host, training steps over devices."""

from efm_jax.fields.sharded import sharded_field, split_charges
from efm_jax.fields.streamed import streamed_field
from efm_jax.training.devices import data_mesh, data_parallel_step, pmap_step

__all__ = ["data_mesh", "data_parallel_step", "pmap_step", "sharded_field", "split_charges", "streamed_field"]
