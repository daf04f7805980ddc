"""Where it is kept: narrow ports. Engines stand beside this package, one conformance suite a port in tests."""
