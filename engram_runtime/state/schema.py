"""Tables of the state file. Written by the projector alone; a change here raises `paths.STATE_VERSION`.

Columns that hold JSON end up as the nested values of the views (`queries.py`); lists are JSON arrays.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, MetaData, Table, Text

METADATA = MetaData()


def _text(name: str, **options: object) -> Column[str]:
    return Column(name, Text, **options)  # type: ignore[arg-type]


def _integer(name: str, **options: object) -> Column[int]:
    return Column(name, Integer, **options)  # type: ignore[arg-type]


PROJECTION = Table(
    "projection",
    METADATA,
    _integer("one", primary_key=True),
    _integer("position", nullable=False),
    Column("hash", Text, nullable=False),
)
"""One row: the last event these tables contain, and its hash in the chain (hex): tells one journal from another."""

SKIPPED = Table(
    "skipped",
    METADATA,
    _integer("position", primary_key=True),
    _text("kind", nullable=False),
    _integer("version", nullable=False),
)
"""Events of kinds or versions the projector did not know; when it does, the state is rebuilt."""

COUNTS = Table("counts", METADATA, _text("kind", primary_key=True), _integer("events", nullable=False))

SESSIONS = Table(
    "sessions",
    METADATA,
    _text("id", primary_key=True),
    _text("project", nullable=False),
    _text("agent", nullable=False),
    _text("agent_version", nullable=False),
    _text("argv", nullable=False),
    _text("cwd", nullable=False),
    _text("worktree", nullable=False),
    _text("branch"),
    _text("head"),
    _text("dirty_files", nullable=False),
    _text("mode", nullable=False),
    _integer("supervisor_pid", nullable=False),
    _integer("agent_pid"),
    Column("agent_started_at", Float),
    _text("parent_session"),
    _integer("task"),
    _integer("resumed_task"),
    _text("native_id"),
    _text("transcript_path"),
    _text("started_at", nullable=False),
    _text("last_event_at", nullable=False),
    _text("ended_at"),
    _text("verdict"),
    _text("verdict_kind"),
    _integer("exit_code"),
    _integer("exit_signal"),
    _text("first_prompt", nullable=False, server_default=""),
    _text("last_prompt", nullable=False, server_default=""),
    _text("last_said", nullable=False, server_default=""),
    _integer("last_tool"),
    _text("context"),
    _text("conditions", nullable=False, server_default="[]"),
    _text("plan", nullable=False, server_default="[]"),
    _text("tools_used", nullable=False, server_default="[]"),
    _text("signals", nullable=False, server_default="[]"),
    _integer("left_running", nullable=False, server_default="0"),
    _integer("position", nullable=False),
    _integer("last_position", nullable=False),
    _integer("ended_position"),
    Index("sessions_by_project", "project", "position"),
)
"""`last_tool` is the position of a row of `tools`; `position` and `last_position` bound the session's events;
`left_running` counts tool calls that had not ended when the agent did."""

TASKS = Table(
    "tasks",
    METADATA,
    _integer("id", primary_key=True),
    _text("name", nullable=False),
    _text("goal", nullable=False),
    _text("status", nullable=False),
    _text("user", nullable=False),
    _text("project", nullable=False),
    _text("metadata", nullable=False),
    _text("created_at", nullable=False),
    _text("updated_at", nullable=False),
    _integer("updated", nullable=False),
    _integer("parent"),
    _text("source", nullable=False),
    _text("last_session"),
    _integer("execution"),
    _integer("origin", nullable=False),
    _integer("attempt", nullable=False),
    _integer("retry_of"),
    _integer("previous"),
    _integer("checkpoint"),
    Index("tasks_by_project", "project", "updated"),
    Index("tasks_by_session", "last_session"),
    Index("tasks_by_origin", "origin", "attempt"),
    Index("tasks_by_parent", "parent"),
    Index("tasks_by_execution", "execution"),
)
"""`updated` is the position of the last event about the task. `origin` is the first of a chain of retries, `attempt`
its place in that chain, `retry_of` the task that was said to be tried again, `previous` the attempt before."""

EXECUTIONS = Table(
    "executions",
    METADATA,
    _integer("id", primary_key=True),
    _text("goal", nullable=False),
    _text("status", nullable=False),
    _text("user", nullable=False),
    _text("project", nullable=False),
    _text("origin_checkpoint"),
    Column("continuity_score", Float),
    _text("created_at", nullable=False),
    _text("last_active_at", nullable=False),
)

RESTORES = Table(
    "restores",
    METADATA,
    _integer("id", primary_key=True),
    _integer("task", nullable=False),
    _integer("checkpoint"),
    _text("to", nullable=False),
    _text("session"),
    _text("created_at", nullable=False),
    Index("restores_by_task", "task"),
)
"""Where a checkpoint reached an agent (as a package or a briefing) or a user."""

DRIFTS = Table(
    "drifts",
    METADATA,
    _integer("id", primary_key=True),
    _integer("task", nullable=False),
    Column("composite", Float),
    _text("source", nullable=False),
    _text("session"),
    _text("created_at", nullable=False),
    Index("drifts_by_task", "task"),
)

ATTEMPTS = Table(
    "attempts",
    METADATA,
    _integer("task", primary_key=True),
    _text("session", primary_key=True),
    _integer("position", nullable=False),
)

CHECKPOINTS = Table(
    "checkpoints",
    METADATA,
    _integer("id", primary_key=True),
    _integer("task", nullable=False),
    _integer("version", nullable=False),
    _integer("parent_version"),
    _text("reason", nullable=False),
    _text("trigger", nullable=False),
    _integer("trigger_position"),
    _text("session"),
    _text("created_at", nullable=False),
    Column("confidence", Float, nullable=False),
    _integer("changed_files", nullable=False),
    _text("content", nullable=False),
    Index("checkpoints_by_task", "task", "version", unique=True),
)

PROGRESS = Table(
    "progress",
    METADATA,
    _integer("memory", primary_key=True),
    _text("feature", nullable=False),
    _text("status", nullable=False),
    Column("completion", Float, nullable=False),
    _text("blockers", nullable=False),
    Column("quality_score", Float),
    _text("notes"),
    _text("user", nullable=False),
    _integer("task"),
    _text("project", nullable=False),
    _text("created_at", nullable=False),
    _text("updated_at", nullable=False),
    _integer("position", nullable=False),
    Index("progress_by_feature", "feature", "user"),
    Index("progress_by_task", "task"),
)

FAILURES = Table(
    "failures",
    METADATA,
    _integer("memory", primary_key=True),
    _text("error", nullable=False),
    _text("component", nullable=False),
    _text("root_cause"),
    _text("severity", nullable=False),
    _text("fix"),
    _text("related_test_ids", nullable=False),
    _text("user", nullable=False),
    _integer("task"),
    _text("project", nullable=False),
    _text("session"),
    _text("created_at", nullable=False),
    _text("source", nullable=False),
    Index("failures_by_task", "task"),
    Index("failures_by_session", "session"),
)

HANDOFFS = Table(
    "handoffs",
    METADATA,
    _integer("memory", primary_key=True),
    _text("summary", nullable=False),
    _text("completed", nullable=False),
    _text("in_progress", nullable=False),
    _text("blocked", nullable=False),
    _text("next_steps", nullable=False),
    _text("must_not_redo", nullable=False),
    _text("must_preserve", nullable=False),
    _text("working_set"),
    _text("user", nullable=False),
    _integer("task"),
    _text("project", nullable=False),
    _text("session"),
    _text("created_at", nullable=False),
    Index("handoffs_by_task", "task"),
)

INTERRUPTIONS = Table(
    "interruptions",
    METADATA,
    _integer("id", primary_key=True),
    _text("reason", nullable=False),
    _text("context", nullable=False),
    _text("user", nullable=False),
    _integer("task"),
    _text("project", nullable=False),
    _text("session"),
    _text("created_at", nullable=False),
    _text("source", nullable=False),
    _text("resolved_by"),
    Index("interruptions_by_task", "task"),
    Index("interruptions_by_session", "session"),
)

TOOLS = Table(
    "tools",
    METADATA,
    _integer("position", primary_key=True),
    _text("session", nullable=False),
    _text("call_id", nullable=False),
    _text("tool", nullable=False),
    _text("summary", nullable=False),
    _text("paths", nullable=False),
    _text("status", nullable=False),
    _text("error", nullable=False),
    _text("output", nullable=False),
    _integer("duration_ms"),
    _text("started_at", nullable=False),
    _text("ended_at"),
    Index("tools_by_call", "session", "call_id"),
)

FILES = Table(
    "files",
    METADATA,
    _text("session", primary_key=True),
    _text("path", primary_key=True),
    _text("change", nullable=False),
    _text("by", nullable=False),
    _integer("tracked", nullable=False),
    _text("evidence", nullable=False),
    _integer("lines_added"),
    _integer("lines_removed"),
    _integer("position", nullable=False),
)

IMPORTS = Table(
    "imports",
    METADATA,
    _text("source", primary_key=True),
    _text("key", primary_key=True),
    _text("kind", nullable=False),
    _text("name", nullable=False),
    _integer("id"),
    _text("session"),
    _text("project", nullable=False),
    _integer("position", nullable=False),
    Index("imports_by_name", "kind", "name"),
)
"""Records of other programs that were taken over, and what they are here (see `records.ImportedRecord`)."""
