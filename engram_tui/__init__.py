"""Engram: launches, watches and shows coding agents; the terminal application and its supervisor."""
