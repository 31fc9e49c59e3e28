"""Hostile input for whole datacenters and for single decoders: `python -m tests.fuzz`, and a short run among the tests.

`planet`, `requests`, `pipes` and `streams` make the hostile clients, `watching` says what they must not reach;
`targets` names every decoder of bytes that come from outside, `guided` lets a coverage-guided fuzzer at them.
"""
