"""Coloured digits by class from white noise, and what guidance towards the class does."""
