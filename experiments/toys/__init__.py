"""Gaussian -> Swiss roll and Gaussian -> two Gaussians: a small gap maps well, a large one poorly."""
