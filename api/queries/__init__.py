"""What a client reads: one small module per subject, each declaring its calls as `Read`s.

V is read before anything else that goes into an answer with a cursor, so that the cursor never covers what the answer
lacks.
"""
