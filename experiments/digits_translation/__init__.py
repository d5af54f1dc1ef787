"""Coloured digits, 3 -> 2 and back, at the same colour: quick and full, both conventions of the field, gaps."""
