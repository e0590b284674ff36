"""Whether two texts mean the same, by their words."""

from __future__ import annotations

import pytest

from engram_runtime.continuity.likeness import OTHER_UNTIL, SAME_FROM, contains, likeness, share_found, stems

SAME = [
    ("Fix the login timeout", "Repair the sign-in that times out"),
    ("Fix the login timeout", "Fixing timeouts of the login form, tests still missing"),
    ("Add pagination to the users endpoint", "Implement paging for the user list API"),
    ("Make the billing export faster", "Speed up the billing export"),
    (
        "login timeout",
        "Fix the login timeout that users on slow networks see after the session limit was lowered in March",
    ),
    ("Migrate auth to OAuth2", "Authentication migration: OAuth2"),
    ("Upgrade Django to 5.0", "Update Django from 4.2 to 5.0"),
    ("fix the crash when the cart is empty", "empty cart crashes the app: find out why and fix"),
    ("Add dark mode to the settings page", "Implement a dark theme on the settings screen"),
    ("修复登录超时问题", "修复登录的超时"),
]
OTHER = [
    ("Fix the login timeout", "Write the billing documentation"),
    ("Fix the login timeout", "fix invoice rounding"),
    ("Add pagination to the users endpoint", "Migrate the database to Postgres 16"),
    ("Fix flaky test in test_cart.py", "Deploy the release to production"),
    ("修复登录超时问题", "编写账单文档"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_goal_in_other_words_is_alike(one: str, other: str) -> None:
    assert likeness(one, other) >= SAME_FROM
    assert likeness(other, one) == pytest.approx(likeness(one, other))


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_another_goal_is_not_alike(one: str, other: str) -> None:
    assert likeness(one, other) <= OTHER_UNTIL


def test_a_ready_model_can_tell_a_paraphrase_that_shares_no_word() -> None:
    asked = ("Trim the invoice PDF", "Shrink that bill file")
    assert likeness(*asked) < SAME_FROM
    assert likeness(*asked, lambda one, other: 0.7) >= SAME_FROM
    assert likeness(*asked, lambda one, other: None) == likeness(*asked)
    assert likeness("Fix the login", "fix login", lambda one, other: 0.0) >= SAME_FROM


def test_texts_without_telling_words_are_alike_only_when_equal() -> None:
    assert likeness("", "") == 1.0
    assert likeness("do it", "do it!") == 1.0
    assert likeness("do it", "get that done now") <= OTHER_UNTIL


def test_an_action_is_found_in_a_command_by_its_words() -> None:
    assert contains(stems("python send_mail.py --release"), stems("send the release mail"))
    assert not contains(stems("python send_mail.py --preview"), stems("send the release mail"))
    assert not contains(stems("deploy everything"), stems("deploy"))


def test_a_share_of_nothing_is_not_known() -> None:
    assert share_found((), ("a thing",)) is None
    assert share_found(("write docs", "ship parser"), ("docs",)) == 0.5
