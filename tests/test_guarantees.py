"""Every promise is tied to tests, and every tie names a promise."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.guarantees import PROMISES

ROOT = Path(__file__).parent


def ties() -> dict[str, list[str]]:
    """Promise → places of `pytest.mark.guarantee` in the tests' sources."""
    found: dict[str, list[str]] = {}
    for path in sorted(ROOT.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "guarantee"
            ):
                for argument in node.args:
                    assert isinstance(argument, ast.Constant), f"{path}:{node.lineno}"
                    found.setdefault(str(argument.value), []).append(
                        f"{path.relative_to(ROOT)}:{node.lineno}"
                    )
    return found


def test_every_promise_has_a_test() -> None:
    assert set(PROMISES) - set(ties()) == set()


def test_every_tie_names_a_promise() -> None:
    assert set(ties()) - set(PROMISES) == set()


def test_every_promise_stands_in_the_readme() -> None:
    readme = (ROOT.parent / "README.md").read_text("utf-8")
    told = set(re.findall(r"\bG\d+\b", readme))
    assert told == set(PROMISES)
