"""The briefing as OpenHands takes it: a private file for `--file`, whose text becomes the first message.

A file and not `--task`: the command line of a process can be read by every user of the machine. The message that
OpenHands makes of a file names its path, so the user's own words are found in it again.
"""

from __future__ import annotations

import re

SEED_NAME = "engram-briefing.md"
PROMPT_HEADING = "## What to do now"
_FROM_FILE = re.compile(
    r"\AStarting this session with file context\.\n\nFile path: (?P<path>[^\n]*)\n\nFile contents:\n-{20}\n"
    r"(?P<content>.*?)\n?-{20}\n*\Z",
    re.S,
)


def seed(briefing: str, prompt: str) -> bytes:
    """The file's content: the briefing, if there is one, then the prompt."""
    if not briefing:
        return f"{prompt.strip()}\n".encode()
    return f"{briefing.rstrip()}\n\n{PROMPT_HEADING}\n\n{prompt.strip()}\n".encode()


def spoken(message: str) -> str:
    """What the user said with a message: without OpenHands' words around a file, and without Engram's briefing."""
    match = _FROM_FILE.match(message)
    if match is None:
        return message
    content = match["content"]
    if match["path"].rpartition("/")[2] == SEED_NAME:
        content = content.rpartition(f"\n{PROMPT_HEADING}\n")[2]
    return content.strip()
