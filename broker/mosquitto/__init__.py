"""Mosquitto from the PATH as a broker of Tidings: its configuration, its process, an operator's connection."""
