"""The benchmark of recall, on small sets of both shapes, with the real model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

TURNS = [
    ("Ana", "I finally adopted a cat, her name is Miso."),
    ("Ben", "Oh how lovely! What colour is she?"),
    ("Ana", "Orange, with one white paw."),
    ("Ben", "I started pottery classes on Mondays."),
    ("Ana", "My sister moved to Lisbon for work."),
    ("Ben", "The marathon is in October, I run every morning."),
]
NOTES = [
    ("n1", "2026-02-02T09:00:00Z", "fact", "The API listens on port 8080 in development."),
    (
        "n2",
        "2026-02-03T09:00:00Z",
        "failure",
        "Webhooks answered 400: the raw body was parsed before the check.",
    ),
    ("n3", "2026-02-10T09:00:00Z", "strategy", "Chose arq over Celery for background jobs, all is async."),
    ("n4", "2026-02-11T09:00:00Z", "fact", "Migrations: `make migrate`, always past the pooler."),
    ("n5", "2026-02-20T09:00:00Z", "fact", "The API listens on port 8085 in development now."),
    ("n6", "2026-02-21T09:00:00Z", "fact", "RefundRepo.claim_next takes FOR UPDATE SKIP LOCKED."),
]


def a_talk(name: str) -> dict[str, Any]:
    turns = [{"speaker": who, "dia_id": f"D1:{n}", "text": said} for n, (who, said) in enumerate(TURNS, 1)]
    questions = [
        ("What is the name of Ana's pet?", ["D1:1"], 4),
        ("What colour is Ana's cat?", ["D1:3"], 4),
        ("Which city did Ana's sister move to?", ["D1:5"], 4),
        ("What does Ben train for?", ["D1:6"], 1),
        ("What was never said?", ["D1:1"], 5),
    ]
    return {
        "sample_id": name,
        "conversation": {"session_1_date_time": "1:56 pm on 8 May, 2023", "session_1": turns},
        "qa": [
            {"question": asked, "answer": "", "evidence": gold, "category": kind}
            for asked, gold, kind in questions
        ],
    }


def a_project(name: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    memories = [
        {
            **{"id": f"{name}-{key}", "project": name, "session": f"{name}-s1", "created_at": at},
            **{"category": category, "importance": 0.6, "content": content},
            "supersedes": f"{name}-n1" if key == "n5" else None,
        }
        for key, at, category, content in NOTES
    ]
    asked = [
        ("q1", "which port is the api on", "n5", ["n1"], "update"),
        ("q2", "claimNext", "n6", [], "identifier"),
        ("q3", "apply schema changes", "n4", [], "howto-command"),
        ("q4", "what did we choose for the job queue", "n3", [], "decision"),
    ]
    queries = [
        {
            **{"id": f"{name}-{key}", "project": name, "asked_at": "2026-03-01T09:00:00Z", "query": text},
            **{"gold": [f"{name}-{gold}"], "stale": [f"{name}-{old}" for old in stale], "kind": kind},
        }
        for key, text, gold, stale, kind in asked
    ]
    return memories, queries


@pytest.mark.slow
def test_the_benchmark_measures_unseen_files_of_both_shapes(tmp_path: Path) -> None:
    talks, projects = tmp_path / "talks.json", tmp_path / "projects.json"
    talks.write_text(json.dumps([a_talk("one"), a_talk("two")]))
    made = [a_project("red"), a_project("blue")]
    told = {"memories": [m for ms, _ in made for m in ms], "queries": [q for _, qs in made for q in qs]}
    projects.write_text(json.dumps(told))
    common = ["--data", str(talks), str(projects), "--cache", str(tmp_path), "--out", str(tmp_path / "out")]
    for how in ("--shipped", "--cv"):
        ran = subprocess.run(
            [sys.executable, "-m", "benchmarks.recall_quality", how, *common],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        every = [line for line in ran.stdout.splitlines() if line.startswith("| all |")]
        assert every
        if how == "--shipped":
            hits = [float(line.split("|")[4]) for line in every]
            assert hits[0] == 100.0, ran.stdout
            assert hits[1] == 100.0, ran.stdout
            assert "| 0.0 |" in every[1], ran.stdout
    (run,) = (tmp_path / "out").glob("run-projects.json-scope-project.jsonl")
    lines = [json.loads(line) for line in run.read_text().splitlines()]
    assert len(lines) == 8
    assert lines[0]["ranked"][0] == "red-n5"
