"""The command hook: hands an agent's hook input to the supervisor and prints its answer.

Run as `python -I -S hook_command.py PORT TOKEN_FILE EVENT` (standard library only: some 20 ms). A supervisor that is
gone or hangs must never hold up or fail the agent: every error ends in exit code 0 and no output.
"""

import http.client
import sys
from pathlib import Path

TIMEOUT_S = 12.0


def main() -> int:
    """Post stdin to the supervisor, print what it answers."""
    port, token_file, event = sys.argv[1:4]
    try:
        header = Path(token_file).read_text(encoding="ascii").strip()
        name, _, value = header.partition(": ")
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=TIMEOUT_S)
        body = sys.stdin.buffer.read()
        connection.request("POST", f"/hooks/{event}", body, {name: value, "Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == 200 and text.strip() not in (b"", b"{}"):
            sys.stdout.buffer.write(text)
    except (OSError, ValueError, http.client.HTTPException):
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
