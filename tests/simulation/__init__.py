"""The planet in one thread: whole datacenters of production code and their clients, every bit of luck from one seed.

Time is virtual, processes are contexts of one event loop, the network and the disks are ours; docs/simulation.md.
"""
