"""`python -m benchmarks [start] [echo] [flood] [idle] [append] [death] [recall] [mcp] [peers]`: the targets table."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import death, idle, mcp_server, peers, recall_speed, screen, start
from benchmarks.place import Row


def main() -> None:
    """Run what was asked for (all without words) and print target and figure side by side."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("what", nargs="*", help="start echo flood idle append death recall mcp peers")
    parser.add_argument("--kills", type=int, default=death.KILLS)
    parser.add_argument("--files", type=int, default=death.FILES)
    parser.add_argument("--peer", type=Path, help="where mcp-engram's environment is, or is to be made")
    options = parser.parse_args()
    known: dict[str, Callable[[], list[Row]]] = {
        "start": start.rows,
        "echo": screen.echo_rows,
        "flood": screen.flood_rows,
        "idle": idle.rows,
        "death": lambda: death.rows(options.kills, options.files),
        "recall": recall_speed.rows,
        "mcp": mcp_server.rows,
        "peers": lambda: peers.rows(options.peer, install=bool(options.what)),
    }
    wanted = options.what or [*known, "append"]
    print(
        f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()},"
        f" {time.strftime('%Y-%m-%d %H:%M')}\n"
    )
    print("| what | target | measured | met |\n|---|---|---|---|")
    for name in wanted:
        if name == "append":
            continue
        before = os.getloadavg()[0]
        for row in known[name]():
            met = "" if row.met is None else "yes" if row.met else "NO"
            print(f"| {row.what} | {row.target} | {row.figure} | {met} |", flush=True)
        print(f"| *{name}: load of the machine* | | {before:.1f} before, {os.getloadavg()[0]:.1f} after | |")
    if "append" in wanted:
        print()
        sys.stdout.flush()
        subprocess.run([sys.executable, str(Path(__file__).with_name("append.py"))], check=False)


if __name__ == "__main__":
    main()
