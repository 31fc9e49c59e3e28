"""Brings the other DCs' lanes here: pulls records from peers, proves them, stores them, and replays them through
syssvc. Also knows what the other DCs hold: remote durability, the collection bound, the protection of our own lanes.
"""
