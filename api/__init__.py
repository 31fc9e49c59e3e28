"""What answers over HTTP: apisvc for clients (`app.py`) and syssvc for other DCs and operators (`sys_app.py`).

Writes are made from the registry of actions and reads are declared in `queries/`; routing, OpenAPI and the refusal of
unknown input all follow from those two, so a new primitive needs no line here.
"""
