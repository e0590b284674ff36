"""Continuity: what was being done, how it was cut off, and what the next agent is told."""
