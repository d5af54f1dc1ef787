"""A point cloud: the surface of a ball carried to the surface of a torus, judged by geometry."""
