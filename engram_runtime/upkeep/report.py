"""Reports: of a period or of one session, as Markdown for people and issues, or as one HTML page on its own.

Texts of agents are data: one line each, no control characters, escaped in HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from engram_runtime.state.activity import activity_line, one_line

if TYPE_CHECKING:
    from engram_runtime.journal.events import Recorded
    from engram_runtime.state.queries import Queries
    from engram_runtime.state.views import SessionView
    from engram_runtime.upkeep.stats import Stats

MOST_ROWS = 200
CELL = 160
"""Characters of a cell."""

_CSS = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2330;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem;border-bottom:1px solid #d5d9e2}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;
border-bottom:1px solid #eceef3;overflow-wrap:anywhere}th{font-weight:600}td.n{text-align:right;white-space:nowrap}
footer{margin-top:2rem;color:#667}
@media(prefers-color-scheme:dark){body{color:#dfe3ec;background:#14171f}h2,th,td{border-color:#2a3040}footer{color:#8a93a6}}
"""


@dataclass(frozen=True, slots=True)
class Section:
    """A table with a title; without a head its rows are (name, value)."""

    title: str
    rows: tuple[tuple[str, ...], ...]
    head: tuple[str, ...] = ("", "")


@dataclass(frozen=True, slots=True)
class Report:
    """What is said, before it is written down as anything."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]


def period_report(stats: Stats) -> Report:
    """The report of a period."""
    period, sessions, checkpoints = stats.period, stats.sessions, stats.checkpoints
    where = period["project"] or "all projects"
    summary = Section(
        "Summary",
        (
            (
                "Sessions",
                f"{sessions['total']}, {sessions['interrupted']} interrupted, {sessions['recovered']} resumed",
            ),
            (
                "Tasks",
                f"{stats.tasks['created']} begun, {stats.tasks['worked_on']} worked on, {stats.tasks['done']} done",
            ),
            ("Checkpoints", f"{checkpoints['created']} written, {checkpoints['restored']} restored"),
            (
                "Briefings",
                f"{checkpoints['briefings']} given, {stats.context['briefing_tokens']:,} tokens in all",
            ),
            ("Memories stored", str(stats.memories["stored"])),
            ("Recalls", f"{stats.memories['recalls']}, with a hit {_percent(stats.memories['hit_rate'])}"),
            ("Failures", str(stats.failures["total"])),
            ("Tool calls", f"{stats.tools['calls']:,}, {stats.tools['failed']:,} failed"),
            ("Files changed", str(stats.files["changed"])),
            ("Fullest context", _context(stats.context)),
            ("Drift", f"{stats.drift['events']} times, {_mean(stats.drift['avg_composite'])} on average"),
            ("Continuity", f"{_mean(stats.continuity['avg'])} on average of {stats.continuity['samples']}"),
        ),
    )
    counted = [
        _counts("How sessions ended", "Verdict", sessions["by_verdict"]),
        _counts("Agents", "Agent", sessions["by_agent"]),
        _counts("Conditions", "Condition", sessions["conditions"]),
        _counts("Why checkpoints were written", "Reason", checkpoints["by_reason"]),
        _counts("Failures", "Component", stats.failures["by_component"]),
        _counts("Tools", "Tool", stats.tools["by_tool"]),
        _counts("Failed tool calls", "Tool", stats.tools["failed_by_tool"]),
        _counts("Files changed most often", "File", stats.files["most_changed"]),
    ]
    days = f"{period['days']:g} days"
    return Report(
        f"Engram report, {period['start']} to {period['end']}",
        f"{days}, {where}",
        (summary, *(section for section in counted if section.rows)),
    )


def session_report(session: SessionView, queries: Queries, recorded: Sequence[Recorded]) -> Report:
    """The report of one session; `recorded` are its events, oldest first."""
    task = queries.task(session.task) if session.task is not None else None
    files = queries.files(session.id).changes
    tools = queries.tools(session.id, limit=MOST_ROWS)[::-1]
    failures = queries.failures(session=session.id)[::-1]
    prompts = [at for at in recorded if at.kind == "PromptSubmitted"]
    written = [at for at in recorded if at.kind == "CheckpointWritten"]
    versions = queries.checkpoint_versions([at.position for at in written])
    what = (
        ("Agent", f"{session.agent} {session.agent_version}".strip()),
        ("Project", session.project),
        ("Folder", session.cwd),
        ("Started", session.started_at),
        ("Ended", session.ended_at or "not yet"),
        ("Verdict", str(session.verdict or "none yet")),
        ("Evidence", "; ".join(session.verdict.evidence) if session.verdict else ""),
        ("Task", f"#{task.id} {task.name} ({task.status})" if task else "none"),
        ("Goal", task.goal if task else ""),
        ("Context", f"{session.context.used:,} tokens" if session.context else ""),
        ("Said last", session.last_said),
    )
    sections = (
        Section("Session", tuple((name, value) for name, value in what if value)),
        Section("Prompts", _told(prompts), ("At", "Prompt")),
        Section(
            "Checkpoints",
            tuple((at.at, activity_line(at, versions).text) for at in written[-MOST_ROWS:]),
            ("At", "Checkpoint"),
        ),
        Section(
            "Files",
            tuple((c.path, c.change, c.by, c.evidence) for c in files[:MOST_ROWS]),
            ("File", "Change", "By", "Evidence"),
        ),
        Section(
            "Failures", tuple((f.component, f.error, f.fix or "") for f in failures), ("Where", "What", "Fix")
        ),
        Section(
            "Tool calls",
            tuple((t.started_at, t.fact.tool, t.fact.summary, t.fact.status) for t in tools),
            ("At", "Tool", "What", "Outcome"),
        ),
    )
    return Report(
        f"Engram report, session {session.id}",
        str(session.verdict or "running"),
        tuple(section for section in sections if section.rows),
    )


def markdown(report: Report) -> str:
    """The report as Markdown that ends with a newline."""
    lines = [f"# {_cell(report.title)}", "", _cell(report.subtitle), ""]
    for section in report.sections:
        lines += [f"## {section.title}", ""]
        lines.append("| " + " | ".join(section.head) + " |")
        lines.append("|" + "---|" * len(section.head))
        lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in section.rows]
        lines.append("")
    return "\n".join(lines)


def html(report: Report) -> str:
    """The report as one HTML page: no script, nothing loaded from anywhere, all text escaped."""
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width">',
        f"<title>{_escaped(report.title)}</title><style>{_CSS}</style></head><body>",
        f"<h1>{_escaped(report.title)}</h1><p>{_escaped(report.subtitle)}</p>",
    ]
    for section in report.sections:
        parts.append(f"<h2>{_escaped(section.title)}</h2><table>")
        if any(section.head):
            parts.append("<tr>" + "".join(f"<th>{_escaped(cell)}</th>" for cell in section.head) + "</tr>")
        for row in section.rows:
            cells = "".join(f"<td{_alignment(cell)}>{_escaped(cell)}</td>" for cell in row)
            parts.append(f"<tr>{cells}</tr>")
        parts.append("</table>")
    parts.append("<footer>Made by Engram from its journal.</footer></body></html>\n")
    return "\n".join(parts)


def _told(recorded: Sequence[Recorded]) -> tuple[tuple[str, str], ...]:
    return tuple((at.at, activity_line(at, {}).text) for at in recorded[-MOST_ROWS:])


def _counts(title: str, name: str, counts: dict[str, int]) -> Section:
    return Section(title, tuple((key, f"{count:,}") for key, count in counts.items()), (name, "Count"))


def _context(context: dict[str, Any]) -> str:
    if context["peak_tokens"] is None:
        return "not measured"
    return f"{context['peak_tokens']:,} tokens" + (
        f", {_percent(context['peak_share'])} of the window" if context["peak_share"] else ""
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


def _mean(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _cell(text: str) -> str:
    return one_line(text, CELL).replace("|", "\\|")


def _escaped(text: str) -> str:
    return escape(one_line(text, 2 * CELL))


def _alignment(cell: str) -> str:
    return ' class="n"' if cell.replace(",", "").isdecimal() else ""
