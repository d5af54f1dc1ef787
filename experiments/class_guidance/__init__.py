"""Colored digits by class from white noise, and what guidance toward the class does."""
