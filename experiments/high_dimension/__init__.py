"""High dimension: how many charges share the field as a function of the gap, and where exact lines go."""
