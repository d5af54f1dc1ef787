"""Colored digits, 3 -> 2 and back, at the same color: quick and full, both conventions of the field, gaps."""
