"""A scriptable stand-in for a model provider: the same bytes each time, every fault on demand."""
