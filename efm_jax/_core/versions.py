"""What numbers depend on: versions, platform, device."""

import functools
import platform
from importlib.metadata import version

import jax

from efm_jax import __version__

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "diffrax", "orbax-checkpoint", "numpy")


def versions() -> dict[str, str]:
    """Return what the numbers depend on: versions, platform, device."""
    return {
        "efm_jax": __version__,
        **{name: _installed(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "device": f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}",
    }


_installed = functools.cache(version)
