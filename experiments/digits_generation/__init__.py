"""White noise -> colored digits: quick and full."""
