"""Experiments: config, program and committed result of every figure this project claims."""
