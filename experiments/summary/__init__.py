"""What all experiments together say: the table of the README, and quality against minutes."""
