"""Looking after a home: checks, repair, rebuilding what is derived, moving."""
