"""What every module may use: checks, files, trees, numbers."""
