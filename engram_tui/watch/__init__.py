"""The eyes: what is seen of the agent from outside, as frozen observations."""
