"""Lanes and the event log: records, their wire form, hash chain and signatures, and the one writer of a lane.

The port is in `ports.py`, one adapter per backend in `adapters/`; `lane_writer.py` turns writes into group commits.
"""
