"""One adapter per backend of the store ports, named after it. The only folder of `stores` that imports drivers.

Each passes the contract suite of its port (tests/contract/); the memory adapters are real ones, used by simulations.
"""
