"""What a new screen process must be told to show what the last one showed."""

from __future__ import annotations

from collections import deque

from engram_tui.terminal import protocol


class OutputLog:
    """The last snapshot of the screen, and the output and sizes sent since, in order.

    It is kept in memory only, and as it came: redacted output would show another screen.
    """

    def __init__(self, cols: int, rows: int) -> None:
        self.snapshot = b""
        self.snapshot_size = (cols, rows)
        """Size of the screen when the snapshot was taken, or at the start."""
        self.bytes_since = 0
        """Output since the snapshot."""
        self._entries: deque[tuple[int, bytes]] = deque()
        self._first = 0
        self._size_at: dict[int, tuple[int, int]] = {}
        self._size = (cols, rows)

    @property
    def position(self) -> int:
        """The position after everything logged; positions only grow."""
        return self._first + len(self._entries)

    def output(self, data: bytes) -> None:
        """Log output sent to the screen process."""
        self._entries.append((protocol.OUTPUT, data))
        self.bytes_since += len(data)

    def resized(self, cols: int, rows: int) -> None:
        """Log a size sent to the screen process."""
        self._entries.append((protocol.RESIZE, protocol.pack_size(cols, rows)))
        self._size = (cols, rows)

    def mark(self) -> int:
        """The position of a snapshot that is being asked for now; give it to `keep_snapshot` with the answer."""
        self._size_at = {self.position: self._size}
        return self.position

    def keep_snapshot(self, position: int, snapshot: bytes) -> None:
        """Take a snapshot taken at `position` and forget what came before it."""
        self.snapshot = snapshot
        self.snapshot_size = self._size_at.pop(position, self._size)
        while self._entries and self._first < position:
            kind, payload = self._entries.popleft()
            self._first += 1
            if kind == protocol.OUTPUT:
                self.bytes_since -= len(payload)

    def tail_since(self, position: int) -> list[tuple[int, bytes]]:
        """Frames (type, payload) logged at and after a position."""
        skip = max(position - self._first, 0)
        return [entry for index, entry in enumerate(self._entries) if index >= skip]

    def forget(self) -> None:
        """Drop everything: the next screen starts blank, at the current size."""
        self._first += len(self._entries)
        self._entries.clear()
        self.snapshot, self.snapshot_size, self.bytes_since = b"", self._size, 0
