"""Every two actions at once: each pair of actions in two datacenters that do not know of each other, in both orders.

`samples.py` says of each action how it is done and when it holds, `outcomes.py` plays the pairs, `expected.py` has what
the design says of them, and `page.py` prints docs/pairs.md. Actions come from the registry: one without a sample fails.
"""
