"""The capacitor chain's sums, by images and by diffusion."""
