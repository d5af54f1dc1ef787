"""What numbers depend on: versions, platform, device."""

import platform

import jax

from efm_jax import __version__


def versions() -> dict[str, str]:
    """Return what the numbers depend on: versions, platform, device."""
    from importlib.metadata import version

    names = ("jax", "jaxlib", "flax", "optax", "diffrax", "orbax-checkpoint", "numpy")
    return {
        "efm_jax": __version__,
        **{name: version(name) for name in names},
        "python": platform.python_version(),
        "device": f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}",
    }
