"""Exact transport: the theorem's stochastic map and the capacitor chain beside forward-only lines, every gap."""
