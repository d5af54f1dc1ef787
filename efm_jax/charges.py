"""Charges: where they sit and how much they carry. Geometry is data; Coulomb's law is in `fields`."""
