"""The facade of the runtime: what supervisors, MCP servers, commands and tests use. Sync and thread-safe."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from engram_runtime import database, paths
from engram_runtime.blobs import Blobs
from engram_runtime.errors import StoreError
from engram_runtime.journal.events import Event, Recorded
from engram_runtime.journal.journal import Budget, Clock, Journal, Verification, utc_now
from engram_runtime.redaction import redact
from engram_runtime.settings import Settings
from engram_runtime.state.activity import activity_line, checkpoint_ids
from engram_runtime.state.queries import Queries
from engram_runtime.state.state import State
from engram_runtime.state.views import ActivityLine, StoreHealth

if TYPE_CHECKING:
    from engram_runtime.memory import Memory


class _Own:
    """Stands for "the runtime's own session (project)", where None has a meaning."""


OWN: Final = _Own()


class Runtime:
    """One open home: journal, state, memory and blobs, for one project and, optionally, one session."""

    def __init__(
        self,
        home: Path,
        journal: Journal,
        *,
        project: str,
        session: str | None,
        settings: Settings,
        warnings: tuple[str, ...] = (),
        read_only: bool = False,
    ) -> None:
        """Use `open`."""
        self.home = home
        self.project = project
        self.session = session
        self.settings = settings
        self.warnings = warnings
        self.journal = journal
        self.blobs = Blobs(journal.files.blobs, redact)
        self._state = State(journal, read_only=read_only)
        self.state = Queries(self._state)
        self._memory: Memory | None = None
        self._guard = threading.Lock()

    @classmethod
    def open(
        cls,
        home: Path | None = None,
        *,
        project: str | None = None,
        session: str | None = None,
        settings: Settings | None = None,
        read_only: bool = False,
        clock: Clock = utc_now,
    ) -> Runtime:
        """Open a home; it is made if it is missing (unless `read_only`, which creates nothing).

        `home` default: $ENGRAM_HOME or ~/.engram; `project` default: that of the working directory.
        A damaged journal does not raise: reads go on, appends raise StoreDamaged (see `health`). Raises
        StoreUnavailable where nothing can be opened at all, SettingsError for settings that make no sense.
        """
        root = paths.home() if home is None else home
        warnings: list[str] = []
        if settings is None:
            settings, warnings = Settings.load(root)
        budget = Budget(settings.seal_events, settings.seal_bytes, settings.seal_keep)
        journal = Journal(paths.HomeFiles(root), clock=clock, read_only=read_only, budget=budget)
        return cls(
            root,
            journal,
            project=paths.project_of(Path.cwd()) if project is None else project,
            session=session,
            settings=settings,
            warnings=tuple(warnings),
            read_only=read_only,
        )

    # --- writing ------------------------------------------------------------------------------------

    def append(
        self, *events: Event, session: str | _Own | None = OWN, project: str | _Own | None = OWN
    ) -> tuple[int, ...]:
        """Write events as one transaction, redacted; durable on return. Gives their positions.

        Raises InvalidEvent (an event cannot be written: none was), StoreUnavailable (disk full or busy: none
        was, try again), StoreDamaged, StoreTooNew (writes are refused; the error's hint says what to do).
        """
        return self.journal.append(events, project=self._project(project), session=self._session(session))

    def submit(
        self, *events: Event, session: str | _Own | None = OWN, project: str | _Own | None = OWN
    ) -> Future[tuple[int, ...]]:
        """As `append`, without waiting: the future gives the positions or the error."""
        return self.journal.submit(events, project=self._project(project), session=self._session(session))

    # --- reading ------------------------------------------------------------------------------------

    @property
    def memory(self) -> Memory:
        """What may be recalled; made when first asked for."""
        with self._guard:
            if self._memory is None:
                from engram_runtime.memory import Memory

                self._memory = Memory(
                    journal=self.journal,
                    append=self.append,
                    submit=self.submit,
                    home=self.home,
                    project=self.project,
                    settings=self.settings,
                )
            return self._memory

    @property
    def worker_pid(self) -> int | None:
        """Pid of the embedding worker, None where memory was not used or the worker is not known."""
        return self._memory.worker_pid if self._memory is not None else None

    def catch_up(self) -> int:
        """Bring state (and memory, if it is in use) up to date now; the state's position. Queries do it too."""
        if self._memory is not None:
            self._memory.catch_up()
        return self._state.catch_up()

    def rebuild_state(self) -> int:
        """Throw the state file away and replay the journal; the position reached."""
        return self._state.rebuild()

    def events(
        self, after: int = 0, limit: int = 1000, session: str | None = None, kinds: Sequence[str] = ()
    ) -> list[Recorded]:
        """Events after a position, oldest first."""
        low, until = self._bounds_of(session)
        return self.journal.read_after(max(after, low), limit, session=session, kinds=kinds, until=until)

    def activity(
        self, limit: int = 50, session: str | None = None, project: str | None = None
    ) -> list[ActivityLine]:
        """The newest events as lines for people, newest last."""
        after, until = self._bounds_of(session)
        recorded = self.journal.read_last(limit, session=session, project=project, after=after, until=until)
        versions = self.state.checkpoint_versions([id_ for at in recorded for id_ in checkpoint_ids(at)])
        return [activity_line(at, versions) for at in recorded]

    def verify(self) -> Verification:
        """Check the journal's whole chain."""
        return self.journal.verify()

    def health(self) -> StoreHealth:
        """Whether the home keeps what it is told, and how far each part is."""
        head = 0
        unknown: tuple[str, ...] = ()
        failed: StoreError | None = None
        try:
            head, unknown = self.journal.head(), self.state.unknown_kinds()
        except StoreError as error:
            failed = error
        trouble = self.journal.trouble or failed  # looking may have found some
        try:
            size = self.journal.files.journal.stat().st_size
        except OSError:
            size = 0
        return StoreHealth(
            home=str(self.home),
            writable=self.journal.writable,
            problem=str(trouble.args[0]) if trouble else "",
            hint=trouble.hint if trouble else "",
            journal_position=head,
            state_position=self._state.position,
            memory_position=self._memory.position if self._memory is not None else 0,
            unknown_kinds=unknown,
            sqlite_version=database.sqlite_version(),
            driver=database.driver_name(),
            journal_bytes=size,
        )

    # --- end ----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write what was submitted, then close everything. Again: nothing."""
        if self._memory is not None:
            self._memory.close()
        self._state.close()
        self.journal.close()

    def __enter__(self) -> Runtime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _bounds_of(self, session: str | None) -> tuple[int, int | None]:
        """Where a session's events are: after, until; nothing of it has to be looked for elsewhere."""
        view = None if session is None else self.state.session(session)
        return (0, None) if view is None else (view.position - 1, view.last_position)

    def _project(self, project: str | _Own | None) -> str:
        return self.project if project is None or isinstance(project, _Own) else project

    def _session(self, session: str | _Own | None) -> str | None:
        return self.session if isinstance(session, _Own) else session
