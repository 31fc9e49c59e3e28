"""The composition root and the command line: builds adapters, hands them in, runs datacenters and operates them.

`datacenter.py` is the one place where a DC is put together; `planet.py` runs several on one machine for the demo.
"""
