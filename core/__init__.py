"""What Plan B means: ids, clock, tables, merge laws and the write primitives ("actions").

Pure Python: no I/O, no asyncio, no wall clock, no randomness. Everything else hands those in.
"""
