"""What runs Tidings and its engines."""
