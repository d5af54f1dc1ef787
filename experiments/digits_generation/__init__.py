"""White noise -> coloured digits: quick and full."""
