"""The whole system in one thread, on a simulated clock, network and store: seeded histories and what they must keep.

Rules
- One seed is one history: `python -m tests.simulation SEED --engine cql --trace` plays it again, call for call.
- Nothing here opens a socket, starts a thread, reads the machine's clock or an unseeded random source.
"""
