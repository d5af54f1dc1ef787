"""The picture at the head of the README: exact lines from two moons to eight Gaussians."""
