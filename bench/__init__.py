"""Load tests: whole datacenters as real processes, loaded from a process of its own, their CPU read from /proc.

They measure and never assert: a figure is true of the machine and the minute in which it was taken.
"""
