"""What is said: ids, topic names, payloads, limits, receipt rules, error and event tables.

Rules of this package: it is pure (standard library and msgspec, no clock, no randomness, no I/O), it is shared
by clients and server, and every decoder returns a value or raises one `errors.Refusal`.
"""
