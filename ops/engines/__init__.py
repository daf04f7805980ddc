"""Engines that tests and trials start themselves: one folder each."""
