"""Three themes. One accent for `needs you`, one colour for danger, grey for the rest."""

from __future__ import annotations

from textual.theme import Theme

THEMES: tuple[Theme, ...] = (
    Theme(
        name="engram-dark",
        primary="#7aa2c8",
        secondary="#8a94a6",
        accent="#e0a84e",
        warning="#e0a84e",
        error="#e06c6c",
        success="#8fb573",
        foreground="#c9cfd8",
        background="#14171c",
        surface="#14171c",
        panel="#1c2128",
        dark=True,
        variables={
            "words": "#c9cfd8",
            "words-dim": "#7d8694",
            "words-strong": "#eef1f5",
            "rule": "#363d48",
            "row": "#262d37",
            "selection": "#33507a",
        },
    ),
    Theme(
        name="engram-light",
        primary="#2f6496",
        secondary="#5d6675",
        accent="#a05f00",
        warning="#a05f00",
        error="#b3261e",
        success="#3f7a2a",
        foreground="#2a2f37",
        background="#fafaf7",
        surface="#fafaf7",
        panel="#f0efea",
        dark=False,
        variables={
            "words": "#2a2f37",
            "words-dim": "#6b7280",
            "words-strong": "#0c0f14",
            "rule": "#cfd2d6",
            "row": "#e4e6e9",
            "selection": "#b9d3ee",
        },
    ),
    Theme(
        name="engram-contrast",
        primary="#66d9ff",
        secondary="#ffffff",
        accent="#ffd700",
        warning="#ffd700",
        error="#ff7b7b",
        success="#7dff7d",
        foreground="#ffffff",
        background="#000000",
        surface="#000000",
        panel="#000000",
        dark=True,
        variables={
            "words": "#ffffff",
            "words-dim": "#d0d0d0",
            "words-strong": "#ffffff",
            "rule": "#a0a0a0",
            "row": "#003a6b",
            "selection": "#0050a0",
        },
    ),
)
DEFAULT = "engram-dark"


def theme_name(wanted: str) -> str:
    """The theme of that name, with or without `engram-`; the dark one if there is none."""
    names = {theme.name for theme in THEMES}
    return next((name for name in (wanted, f"engram-{wanted}") if name in names), DEFAULT)
