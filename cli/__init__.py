"""The composition root and the command line: builds adapters, hands them in, runs datacenters and operates them.

`datacenter.py` is the one place where a DC is put together; `planet.py` runs several on one machine for the demo.

    one DC       serve -> datacenter -> writer_lane, public_side, internal_side; listeners, serving, clock_watch
    the demo     demo -> live, story -> planet -> servers, links; the people: narrator, cast, conversation, chatter, irc
    an operator  main -> operate, snapshots, watch, importer; text and problems say it in sentences
"""
