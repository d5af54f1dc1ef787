"""Flung lines: how far lines of learned two plates run away from the data, with and without what makes them safe."""
