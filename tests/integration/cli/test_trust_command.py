"""`engram trust`."""

from __future__ import annotations

import json

import pytest

from engram_runtime.settings import is_trusted
from tests.integration.cli.runs import Bench


@pytest.mark.slow
def test_a_projects_settings_are_trusted_until_they_change(at: Bench) -> None:
    none = at.engram("trust")
    assert (none.code, none.out) == (2, b"") and "no .engram.toml" in none.said
    assert not at.home.exists()
    file = at.work / ".engram.toml"
    file.write_text('webhook = "http://127.0.0.1:1/"\n', "utf-8")
    assert "is trusted now" in at.engram("trust").out.decode()
    assert is_trusted(file, at.home)
    told = json.loads(at.engram("trust", "--json").out)
    assert told == {"file": str(file), "was_trusted": True, "trusted": True}
    file.write_text('webhook = "http://127.0.0.1:2/"\n', "utf-8")
    assert not is_trusted(file, at.home)
