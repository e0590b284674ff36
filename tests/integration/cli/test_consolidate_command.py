"""`engram consolidate`, and what `engram remember` says of what was known, as a user calls them."""

from __future__ import annotations

import json

import pytest

from tests.integration.cli.runs import Bench

pytestmark = pytest.mark.slow


def test_an_update_is_told_when_it_is_remembered_and_consolidation_tells_what_it_did(at: Bench) -> None:
    off = {"ENGRAM_MODEL": "off"}
    assert at.engram("consolidate", env=off).out.decode().strip() == "No memories yet."
    assert not (at.home / "journal.sqlite").exists()
    assert at.engram("remember", "The staging port is 5433.", env=off).code == 0
    said = at.engram("remember", "The staging port is 5533.", env=off)
    assert "superseded (over #1)" in said.out.decode()
    done = at.engram("consolidate", env=off)
    assert done.code == 0
    assert "0 linked, 0 hidden" in done.out.decode()
    assert set(at.ask("consolidate", env=off)) == {"compared", "linked", "pruned", "took_ms", "unlinked"}
    assert json.loads(at.engram("consolidate", "--restore", "1", "--json", env=off).out) == {"restored": [1]}
    refused = at.engram("consolidate", "--restore", "4711", env=off)
    assert (refused.code != 0, "There is no memory 4711" in refused.said) == (True, True)
    assert "Traceback" not in refused.said
