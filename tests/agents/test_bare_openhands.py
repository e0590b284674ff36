"""The harness, proven with bare OpenHands: no Engram in these tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents.harness import AgentHome
from tests.fakes.scripted_llm import PlanScript, Reply, ScriptedLLM, Step, tool_said

pytestmark = [pytest.mark.agents, pytest.mark.timeout(180)]

HEADLESS = ["--headless", "--json", "--override-with-envs", "-t"]


def test_a_headless_run_works_through_the_plan(
    openhands_cli: Path, agent_home: Callable[[ScriptedLLM], AgentHome]
) -> None:
    write = Reply.call("terminal", command="echo one >> log.txt && echo wrote-one", security_risk="LOW")
    finish = Reply.call("finish", message="ALL-DONE", security_risk="LOW")
    plan = PlanScript(Step("one", write, done_when=tool_said("terminal", "wrote-one")), finish=finish)
    with ScriptedLLM(plan) as llm:
        home = agent_home(llm)
        done = home.run([openhands_cli, *HEADLESS, "write one"], seconds=120)
    kinds = [json.loads(line)["kind"] for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0
    assert (home.work / "log.txt").read_text() == "one\n"
    assert kinds.count("ObservationEvent") == 2
    assert plan.taken == ("one",)
    assert home.processes() == []
