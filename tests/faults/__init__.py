"""Faults on real processes, judged from outside: clients record what they did and were told, and a checker that shares
no code with the product says whether any of it breaks a promise."""
