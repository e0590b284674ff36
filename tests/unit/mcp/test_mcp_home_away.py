"""A home that is away for a moment: moved, or on a disk that was unmounted."""

from __future__ import annotations

from typing import Any


def test_tools_read_again_once_a_home_that_was_away_is_back(agent: Any) -> None:
    home = agent.runtime.home
    away = home.with_name("away")
    agent.call("store_memory", content="the port is 8400", importance=0.5)
    home.rename(away)
    refused = agent.refused("store_memory", content="the host is large", importance=0.5)
    agent.refused("store_memory", content="the host is large", importance=0.5)
    away.rename(home)
    assert "is not there. Put it back" in refused
    (found,) = agent.call("recall_memory", query="port")["memories"]
    assert found["content"] == "the port is 8400"
    assert agent.call("get_runtime_health")["db_exists"]


def test_an_index_that_lost_its_file_opens_it_again(agent: Any) -> None:
    home, index = agent.runtime.home, agent.runtime.memory._index
    away = home.with_name("away")
    agent.call("store_memory", content="the port is 8400", importance=0.5)
    # As after a rebuild that was cut off between closing the file and opening it.
    index._close_connection()
    home.rename(away)
    assert "is not there" in agent.refused("recall_memory", query="port")
    away.rename(home)
    assert agent.call("recall_memory", query="port")["memoriesFound"] == 1
