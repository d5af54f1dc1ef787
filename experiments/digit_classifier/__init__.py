"""The digit reader: trained on full MNIST, its weights are part of the package (`efm_jax.classifier`)."""
