"""The toy table: every recipe on five pairs of toy laws, one network, one budget, several seeds."""
