"""The stores of one DC (relational, messages, hot, objects) and `apply`, which brings events into them.

Ports are in `ports.py`, adapters in `adapters/`. Each store keeps its own frontier, written with or after what it
covers, never before; recovery replays from the smallest, and every step is repeatable.
"""
