"""Where settings come from, and what is said about those that make no sense."""

from pathlib import Path

import pytest

from engram_runtime.errors import SettingsError
from engram_runtime.settings import Settings, is_trusted, trust


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def load(home: Path, cwd: Path, **arguments: object) -> tuple[Settings, list[str]]:
    home.mkdir(exist_ok=True)
    return Settings.load(home, cwd, **({"environ": {}} | arguments))  # type: ignore[arg-type]


def test_each_source_overrides_the_one_below(home: Path, cwd: Path) -> None:
    home.mkdir()
    (home / "config.toml").write_text(
        'theme = "config"\nbriefing_tokens = 700\nmodel = "m"\nprefix_key = "f1"\n'
    )
    (cwd / ".engram.toml").write_text('theme = "project"\nbriefing_tokens = 800\n')
    environ = {"ENGRAM_BRIEFING_TOKENS": "900", "ENGRAM_PREFIX_KEY": "f2"}
    found, warnings = load(home, cwd, environ=environ, overrides={"prefix_key": "f3", "theme": None})
    assert (found.model, found.theme, found.briefing_tokens, found.prefix_key) == ("m", "project", 900, "f3")
    assert warnings == []


def test_without_any_source_the_defaults_hold(home: Path, cwd: Path) -> None:
    assert load(home, cwd) == (Settings(), [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("on_hangupp = 'stop'", "Did you mean 'on_hangup'"),
        ("zzz = 1", "Valid keys"),
        ("on_hangup = 'explode'", "one of 'detach', 'stop'"),
        ("briefing_tokens = 'many'", "not a whole number"),
        ("briefing_tokens = true", "not a whole number"),
        ("briefing_tokens = 5", "between 100 and 20000"),
        ("grace_seconds = nan", "not a number"),
        ("panes = [1]", "not a list of texts"),
        ("theme = ", "config.toml"),
    ],
)
def test_what_cannot_be_understood_is_an_error_that_names_the_file(
    home: Path, cwd: Path, text: str, said: str
) -> None:
    home.mkdir()
    (home / "config.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(home, cwd)
    assert said in str(caught.value)
    assert "config.toml" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_projects_file_sets_only_harmless_keys_until_it_is_trusted(home: Path, cwd: Path) -> None:
    file = cwd / ".engram.toml"
    file.write_text('theme = "x"\nwebhook = "https://evil.example"\n')
    found, warnings = load(home, cwd)
    assert (found.theme, found.webhook) == ("x", "")
    assert "webhook" in warnings[0] and "engram trust" in warnings[0]
    trust(file, home)
    trust(file, home)
    assert load(home, cwd)[0].webhook == "https://evil.example"
    file.write_text(file.read_text() + "# changed\n")
    assert not is_trusted(file, home)
    assert load(home, cwd)[0].webhook == ""


def test_a_projects_file_is_found_from_its_subfolders(home: Path, cwd: Path) -> None:
    (cwd / ".git").mkdir()
    (cwd / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (cwd / ".engram.toml").write_text('theme = "x"\n')
    (cwd / "a" / "b").mkdir(parents=True)
    assert load(home, cwd / "a" / "b")[0].theme == "x"
    (cwd.parent / ".engram.toml").write_text('theme = "outside"\n')
    (cwd / ".engram.toml").unlink()
    assert load(home, cwd / "a")[0].theme == Settings().theme


def test_variables_of_mcp_engram_keep_their_names(home: Path, cwd: Path) -> None:
    environ = {
        "ENGRAM_MODEL": "x",
        "ENGRAM_DEDUP_THRESHOLD": ".65",
        "ENGRAM_GRAPH_DEPTH": "3",
        "ENGRAM_DRIFT_NUDGE": "off",
        "ENGRAM_SQLITE_TIER2": "1",
        "ENGRAM_PANES": "tasks, activity",
    }
    found, warnings = load(home, cwd, environ=environ)
    assert (found.model, found.dedup_threshold, found.graph_depth, found.drift_nudge) == ("x", 0.65, 3, False)
    assert found.panes == ("tasks", "activity")
    assert warnings == []


def test_unknown_variables_warn_and_wrong_ones_are_errors(home: Path, cwd: Path) -> None:
    _, warnings = load(home, cwd, environ={"ENGRAM_MODLE": "x", "HOME": "/"})
    assert warnings == ["ENGRAM_MODLE is not a setting. Did you mean ENGRAM_MODEL?"]
    with pytest.raises(SettingsError, match="ENGRAM_MAX_EDGES"):
        load(home, cwd, environ={"ENGRAM_MAX_EDGES": "lots"})


def test_keys_of_the_screen_come_as_a_table(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[keys]\n"session.detach" = "x"\n')
    settings, _ = Settings.load(tmp_path, tmp_path, environ={})
    assert settings.keys == {"session.detach": "x"}
    (tmp_path / "config.toml").write_text("[keys]\ndetach = 3\n")
    with pytest.raises(SettingsError, match="table of texts"):
        Settings.load(tmp_path, tmp_path, environ={})
