"""Pictures at equal budget: one network, so many steps, every method; translation and generation."""
