"""The write primitives. One class in one module here is all it takes to add one: every module is imported below.

A class reads like its row in docs/semantics.md; what several of them look up is in `conversations.py`, the types of
request fields are in `fields.py`.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
