"""The journal: the events, their format, and the one file whose loss is a loss."""
