"""Models of the ports in memory: small, obviously right, kept nowhere. For tests and for the simulation."""
