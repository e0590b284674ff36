"""The supervisor: owns one agent's pty, watches it, and makes sure that its work can be continued."""
