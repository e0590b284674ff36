"""The agent's terminal: what is on its screen, kept by a disposable process, and the recording of its output."""
