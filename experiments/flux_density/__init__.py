"""How heavy the tails of the velocity target are: distance of two charges against the gap."""
