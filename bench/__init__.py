"""The bench: the same clients on a bare broker and on Tidings, in one run, in one table. `python -m bench --help`.

Rules
- The clients are the same bytes everywhere: a QoS 1 publish out, its PUBACK, the sender's own copy back, the
  partner's copy. A bare broker reflects what is published; Tidings puts the bridge and its store in between.
- A message is *acknowledged* when its sender's own copy is back, *delivered* when its partner has it.
- Closed loop: a bounded window a client, the greatest rate. Open loop: a given rate, where time counts from the
  moment at which a message was due, so that a stalled system cannot hide behind senders that wait for it.
- Every phase is bounded in time and in messages. A benchmark is not a test: nothing here passes or fails.
"""
