"""The command line: one file per command group; nothing heavy is imported before it is needed."""
