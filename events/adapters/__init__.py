"""One module per backend of the event log port: `memory` for tests and simulation, `valkey` for small installations.

Only here are drivers imported.
"""
