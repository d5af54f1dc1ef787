"""`python -m efm_jax.cli` is the command `efm`."""

from efm_jax.cli import main

if __name__ == "__main__":
    main()
