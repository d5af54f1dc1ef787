"""Sums over charges, in log space."""
