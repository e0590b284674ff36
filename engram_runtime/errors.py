"""What can go wrong, as one tree.

EngramError                 base; .hint says what to do, .exit_code what the command line returns
├─ UsageError          2    bad arguments: unknown agent, task, option; nothing was written
│  └─ NotFound         2    a task, checkpoint, session or memory that does not exist here
├─ SettingsError       2    a configuration file or variable that cannot be understood
├─ StoreError          1    the home cannot keep (or read) what it should
│  ├─ StoreUnavailable 1    home missing, not writable, full, on a network file system
│  ├─ StoreDamaged     1    the journal fails its own check; reads go on, writes are refused
│  └─ StoreTooNew      1    written by a newer Engram
├─ InvalidEvent        1    a payload the journal refuses (NaN, not JSON, too large)
└─ AgentError          1    the agent could not be started
"""

from __future__ import annotations


class EngramError(Exception):
    """Base of all errors Engram raises on purpose: one clear line, and a hint what to do."""

    exit_code = 1
    code = "failed"
    """For programs: one word, in answers of tools and of the REST interface."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} {self.hint}".strip() if self.hint else message


class UsageError(EngramError):
    """Bad arguments; nothing was written."""

    exit_code = 2
    code = "bad_arguments"


class NotFound(UsageError):
    """Names something that does not exist, or belongs to another project."""

    code = "not_found"


class SettingsError(EngramError):
    """A configuration file or variable that cannot be understood."""

    exit_code = 2
    code = "bad_settings"


class StoreError(EngramError):
    """The home cannot keep or read what it should."""

    code = "store_unavailable"


class StoreUnavailable(StoreError):
    """The home is missing, not writable, full, or on a file system that cannot be trusted."""


class StoreDamaged(StoreError):
    """The journal fails its own check: reads go on where possible, writes are refused."""

    code = "degraded_mode"


class StoreTooNew(StoreError):
    """The home was written by a newer Engram."""

    code = "store_too_new"


class InvalidEvent(EngramError):
    """An event the journal refuses: not representable as JSON, NaN, or too large."""

    code = "bad_arguments"


class AgentError(EngramError):
    """The agent could not be started."""
