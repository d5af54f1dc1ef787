"""The tasks, the networks, and how many minutes each may train."""

from dataclasses import dataclass, replace
from pathlib import Path

from efm_jax.models.configs import CFM, Data, Network, Optimizer, Run, Sampling


@dataclass(frozen=True)
class Config:
    """What all networks have in common."""

    minutes: tuple[float, ...] = (1.0, 2.0, 4.0)
    """Each is a training of its own, whose rate falls to zero at its end."""
    seeds: tuple[int, ...] = (0,)
    points: int = 64
    """Points a step in pixels."""
    points_of_vectors: int = 512
    """Points a step in principal components."""
    width: float = 0.3
    """Of the tubes between pairs."""
    plan_samples: int = 10_000
    """Draws that are paired once."""
    components: int = 192
    """Principal components for the perceptron."""


NETWORKS = {
    "U-Net": Network(
        kind="unet", width=32, multipliers=(1, 2, 2), blocks=1, attention=(4,), patch=2, dropout=0.0
    ),
    "transformer": Network(kind="dit", width=128, depth=4, patch=4),
    "perceptron in components": Network(kind="mlp", width=1024, depth=4),
}
"""U-Net and transformer have about a million weights each and see pixels; the perceptron has four."""


def tasks(mnist: Path) -> dict[str, Data]:
    """The tasks, with the folder of MNIST's files."""
    return {
        "digits 3 → 2": Data(f"mnist:{mnist}:3", f"mnist:{mnist}:2", jitter=1.0),
        "noise → digits": Data("noise", f"mnist:{mnist}", jitter=1.0),
    }


def run(config: Config, data: Data, network: Network, steps: int, seed: int) -> Run:
    """Flow matching of one network: pairs of one plan between pictures, independent ones from noise."""
    of_vectors = network.kind == "mlp"
    points = config.points_of_vectors if of_vectors else config.points
    recipe = CFM(charges=points, num_points=points, width=config.width, coupling="independent")
    if data.source != "noise":
        recipe = replace(recipe, coupling="one_plan", plan_samples=config.plan_samples)
    return Run(
        data=replace(data, components=config.components if of_vectors else None),
        recipe=recipe,
        network=network,
        optimizer=Optimizer(learning_rate=1e-3, warmup=min(100, steps // 10), cosine=True, ema_decay=0.999),
        sampling=Sampling(solver="midpoint", steps=12 if data.source != "noise" else 24, samples=500),
        steps=steps,
        save_every=steps,
        log_every=25,
        seed=seed,
    )
