"""The archive of all lanes in object storage, snapshots of the stores beside it, and the restore of a DC from both.

A snapshot is a fuzzy copy with the frontiers F0 and F1; replaying (F0, F1] over it makes it right.
"""
