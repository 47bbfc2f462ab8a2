"""The two ASGI servers behind one interface.

Both are set up so that a client that does not read, or is gone without a word, cannot hold anything for long.
"""
