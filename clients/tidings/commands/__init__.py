"""Sub-commands of `tidings` that every client has; others are found by the entry-point group `tidings.commands`."""
