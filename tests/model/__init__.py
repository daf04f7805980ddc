"""A model of the write path that a reader can hold, and a search through every history of it within bounds."""
