"""The wire between a supervisor and its UIs: what is said, and how it is framed.

One WebSocket over the session's Unix socket. Every message is one binary WebSocket message: one byte that
names the kind, then msgpack. Screen frames (`f` full, `d` changed rows) are passed on from the screen process
as they are: see `ScreenFrame`. Over the same socket HTTP answers `GET /session` (a `Snapshot` as JSON) and takes
`POST /checkpoint`, `/stop`, `/detach`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from engram_runtime.journal.records import FileChange, Item, Prohibition
from engram_runtime.state.views import ActivityLine

AgentState = Literal["starting", "idle", "busy", "waiting", "stalled", "limited", "stopping", "ended", "lost"]
Run = tuple[str, int | None, int | None, int]
"""Text, foreground, background (None | 0..255 palette | 256 + rgb24), attribute bits (see `ATTRIBUTES`)."""

ATTRIBUTES = ("bold", "dim", "italic", "underline", "blink", "reverse", "conceal", "strike", "overline")
"""Attribute bits of a `Run`, lowest bit first."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Base of wire values."""


# --- supervisor → UI ------------------------------------------------------------------------------------


class ScreenModes(Message, frozen=True, kw_only=True):
    """What the face must know of the terminal. `mouse` is the tracking mode asked for (0 = none)."""

    title: str = ""
    mouse: int = 0
    alt: bool = False
    paste: bool = False
    scrollback: int = 0
    offset: int = 0


class ScreenFrame(msgspec.Struct, frozen=True, array_like=True):
    """Rows of the agent's screen: all of them in an `f` message, the changed ones in a `d` message."""

    cols: int
    rows: int
    cursor: tuple[int, int, bool, int]
    """x, y, visible, shape (0 block, 1 underline, 2 bar)."""
    lines: list[tuple[int, list[Run]]]
    modes: ScreenModes


class TaskLine(Message, frozen=True, kw_only=True):
    """A task for the pane; `features` are (name, status, completion 0..1, standing)."""

    id: int
    name: str
    goal: str
    status: str
    current: bool = False
    interrupted: bool = False
    attempts: int = 0
    features: tuple[tuple[str, str, float, str], ...] = ()


class CheckpointLine(Message, frozen=True, kw_only=True):
    """A checkpoint for the pane."""

    id: int
    task: int
    version: int
    reason: str
    at: str
    confidence: float
    changed_files: int
    note: str = ""


class MemoryHealth(Message, frozen=True, kw_only=True):
    """Memory of the project: `histogram` counts memories by strength in ten bins from 0 to 1.

    `stale` have faded though nothing supersedes them, `pruned` are no longer recalled, `waiting` are not yet compared
    with what was known; `tidied_at` is when memories were consolidated last.
    """

    total: int = 0
    by_category: dict[str, int] = {}
    average_strength: float = 0.0
    histogram: tuple[int, ...] = ()
    superseded: int = 0
    recalls: int = 0
    recall_hits: int = 0
    index_lag: int = 0
    embedder: str = "off"
    size_bytes: int = 0
    stale: int = 0
    pruned: int = 0
    waiting: int = 0
    tidied_at: str = ""


class ProcessLine(Message, frozen=True, kw_only=True):
    """A process of the agent's tree; cpu in percent of one core, rss in bytes."""

    pid: int
    parent: int
    depth: int
    command: str
    cpu: float
    rss: int


class Condition(Message, frozen=True, kw_only=True):
    """Something keeps the agent from working, since when (UTC ISO 8601), and what Engram did about it."""

    kind: str
    since: str
    text: str
    done: str = ""


class Snapshot(Message, frozen=True, kw_only=True):
    """All that panes and status bar show. Sent when something changed, at most four times a second."""

    session: str
    agent: str
    agent_version: str = ""
    project: str = ""
    cwd: str = ""
    pid: int | None = None
    supervisor_pid: int = 0
    state: AgentState = "starting"
    state_since: str = ""
    now: str = ""
    task: int | None = None
    task_name: str = ""
    goal: str = ""
    context_used: int | None = None
    context_window: int | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    conditions: tuple[Condition, ...] = ()
    protected: bool = True
    """False: nothing is being kept; `problem` says why."""
    problem: str = ""
    checkpoint: CheckpointLine | None = None
    journal_position: int = 0
    uis: int = 0
    verdict: str = ""
    exit_code: int | None = None
    mcp_connected: bool = False
    tasks: tuple[TaskLine, ...] = ()
    checkpoints: tuple[CheckpointLine, ...] = ()
    memory: MemoryHealth = MemoryHealth()
    activity: tuple[ActivityLine, ...] = ()
    processes: tuple[ProcessLine, ...] = ()
    files: tuple[FileChange, ...] = ()


class Ended(Message, frozen=True, kw_only=True):
    """The session is over; the supervisor closes the socket after this."""

    verdict: str
    exit_code: int
    line: str
    """The closing line for the terminal: verdict, last checkpoint, how to come back."""
    screen_tail: str = ""
    """The agent's last words, where it ended so soon that they would be lost with the screen."""


class Notice(Message, frozen=True, kw_only=True):
    """One line for the user (a toast). severity: information | warning | error."""

    text: str
    severity: Literal["information", "warning", "error"] = "information"


class SearchResult(Message, frozen=True, kw_only=True):
    """Matches in scrollback and screen, as (row from the oldest line kept, column, length)."""

    text: str
    matches: tuple[tuple[int, int, int], ...] = ()


class CopyResult(Message, frozen=True, kw_only=True):
    """Text of a region."""

    text: str


class CheckpointText(Message, frozen=True, kw_only=True):
    """A checkpoint rendered for reading (also the diff against the one before)."""

    id: int
    title: str
    text: str


# --- before an agent starts: between the command line and the recovery card; never on the wire ----------


class RecoveryCard(Message, frozen=True, kw_only=True):
    """All that the recovery card shows of interrupted work; `briefing` is what will be injected, to the letter."""

    title: str
    """The task's name."""
    task: int
    verdict: str
    age: str
    """How long ago it stopped, in words: `41 min ago`."""
    agent: str
    """Who worked on it last."""
    typed: str
    """Agent or program of the command line: what goes on with it unless another is picked."""
    goal: str = ""
    done: tuple[Item, ...] = ()
    working_on: tuple[Item, ...] = ()
    not_again: tuple[Prohibition, ...] = ()
    keep: tuple[Item, ...] = ()
    changed: tuple[FileChange, ...] = ()
    """By the agent, or by nobody known."""
    changed_by_you: tuple[FileChange, ...] = ()
    changed_since: tuple[FileChange, ...] = ()
    """After the work stopped, while nobody watched: who changed them is not known."""
    head_moved: str = ""
    """How stale the checkpoint is against HEAD, in words; empty when HEAD is where it was."""
    next: tuple[Item, ...] = ()
    briefing: str = ""
    tokens: int = 0
    confidence: float = 0.0
    agents: tuple[str, ...] = ()
    """Names of agents that could go on with it."""


class RecoveryChoice(Message, frozen=True, kw_only=True):
    """What the user chose. `agent` is empty for the command as it was typed, else the name of one that was picked.
    `briefing` is the edited text, None when it was left as it is.
    """

    action: Literal["continue", "fresh", "cancel"]
    agent: str = ""
    briefing: str | None = None


# --- UI → supervisor ------------------------------------------------------------------------------------


class Key(Message, frozen=True, kw_only=True):
    """A key as Textual names it, and its character if it has one."""

    key: str
    character: str | None = None


class Mouse(Message, frozen=True, kw_only=True):
    """A mouse event on the agent's screen (cells from 0); action: press | release | move | scroll_up | scroll_down."""

    action: str
    button: int
    x: int
    y: int
    shift: bool = False
    ctrl: bool = False
    meta: bool = False


class Paste(Message, frozen=True, kw_only=True):
    """Pasted text; bracketed by the screen process if the agent asked for it."""

    text: str


class Resize(Message, frozen=True, kw_only=True):
    """The size of the UI's terminal area. The UI last typed in sets the agent's size."""

    cols: int
    rows: int


class Viewport(Message, frozen=True, kw_only=True):
    """Scroll to `offset` lines above the bottom (0 = live)."""

    offset: int


class Search(Message, frozen=True, kw_only=True):
    """Find text in scrollback and screen."""

    text: str


class Copy(Message, frozen=True, kw_only=True):
    """Text of a region from (row, column) to (row, column), rows counted from the oldest line kept, ends included."""

    start: tuple[int, int]
    end: tuple[int, int]


class AskFull(Message, frozen=True, kw_only=True):
    """Send a full frame."""


class WriteCheckpoint(Message, frozen=True, kw_only=True):
    """Write a checkpoint now."""

    note: str = ""


class ShowCheckpoint(Message, frozen=True, kw_only=True):
    """Ask for a checkpoint's text, compared to the version before if `compare`."""

    id: int
    compare: bool = False


class StopAgent(Message, frozen=True, kw_only=True):
    """End the agent: TERM, after the grace KILL."""


class DetachAll(Message, frozen=True, kw_only=True):
    """Close every UI of the session; the agent goes on."""


KINDS: dict[bytes, type[Any]] = {
    b"f": ScreenFrame,
    b"d": ScreenFrame,
    b"s": Snapshot,
    b"x": Ended,
    b"n": Notice,
    b"S": SearchResult,
    b"C": CopyResult,
    b"T": CheckpointText,
    b"k": Key,
    b"m": Mouse,
    b"p": Paste,
    b"r": Resize,
    b"v": Viewport,
    b"/": Search,
    b"c": Copy,
    b"F": AskFull,
    b"w": WriteCheckpoint,
    b"t": ShowCheckpoint,
    b"q": StopAgent,
    b"D": DetachAll,
}
_KIND_OF: dict[type[Any], bytes] = {t: k for k, t in KINDS.items() if k != b"d"}
_encoder = msgspec.msgpack.Encoder()
_decoders = {k: msgspec.msgpack.Decoder(t) for k, t in KINDS.items()}


def pack(message: Message) -> bytes:
    """One wire message: kind byte and msgpack."""
    return _KIND_OF[type(message)] + _encoder.encode(message)


def unpack(data: bytes) -> Any:
    """The value of a wire message. Raises ValueError for an unknown kind or malformed payload."""
    decoder = _decoders.get(data[:1])
    if decoder is None:
        raise ValueError(f"unknown wire message kind {data[:1]!r}")
    try:
        return decoder.decode(memoryview(data)[1:])
    except msgspec.MsgspecError as error:
        raise ValueError(f"malformed wire message {data[:1]!r}: {error}") from error
