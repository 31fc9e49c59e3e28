"""What `planb doctor` looks at: a module for each kind of engine, a function for each check.

A check changes nothing. Where only a try can tell it leaves a probe, and takes it away again; its text says so.
"""
