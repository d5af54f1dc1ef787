"""All benchmarks of this machine: `python -m benchmarks [--mnist FOLDER]`.

Results go to `benchmarks/results/`, tables to docs/speed.md.
`benchmarks.tpu` needs an environment with `jax[tpu]` and is run by itself.
"""

import argparse
import subprocess
import sys

NAMES = ("field", "growth", "lines", "network", "train_step", "devices", "roofline")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", help="folder of MNIST's IDX files, for the full digits of train_step")
    mnist = parser.parse_args().mnist
    for name in NAMES:  # each in a process of its own: none keeps the memory or the compilations of another
        more = ["--mnist", mnist] if mnist and name == "train_step" else []
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *more], check=True)
    subprocess.run([sys.executable, "-m", "experiments.tables"], check=True)


if __name__ == "__main__":
    main()
