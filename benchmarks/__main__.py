"""All benchmarks of this machine: `python -m benchmarks [--mnist FOLDER] [--seconds 60]`.

Results go to `benchmarks/results/`, tables to docs/evidence/speed.md.
`benchmarks.tpu` needs an environment with `jax[tpu]` and is run by itself.
"""

import argparse
import subprocess
import sys

NAMES = (
    "field",
    "growth",
    "lines",
    "network",
    "train_step",
    "host_threads",
    "pages",
    "saving",
    "devices",
    "roofline",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", help="folder of MNIST's IDX files, for the full digits of train_step")
    parser.add_argument(
        "--seconds", default="60", help="time for the parts, and for the loop, of a case of train_step"
    )
    options = parser.parse_args()
    of_steps = ["--seconds", options.seconds, *(["--mnist", options.mnist] if options.mnist else [])]
    for name in NAMES:  # each in a process of its own: none keeps the memory or the compilations of another
        more = of_steps if name == "train_step" else []
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *more], check=True)
    subprocess.run([sys.executable, "-m", "experiments.tables"], check=True)


if __name__ == "__main__":
    main()
