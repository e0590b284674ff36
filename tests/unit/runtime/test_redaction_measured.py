"""The measuring set: how many secrets are taken out, how much ordinary text is changed, how long it takes."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_runtime.redaction import is_plain, redact, redact_output, secrets_in
from engram_runtime.redaction.library import _DETECTORS
from tests.redaction_cases import Case, cases
from tests.support import rounds

pytestmark = pytest.mark.guarantee("G7")

TRUE, FALSE = cases()
HALVES = ["held", "dev"]


def of_half(half: str, all_of: list[Case]) -> list[Case]:
    return [case for case in all_of if case.half == half]


def test_the_set_has_two_hundred_of_each_and_forty_providers() -> None:
    assert len(TRUE) >= 200
    assert len(FALSE) >= 200
    assert len({case.kind for case in TRUE}) >= 40
    for half in HALVES:
        assert min(len(of_half(half, TRUE)), len(of_half(half, FALSE))) >= 100


@pytest.mark.parametrize("half", HALVES)
def test_nearly_every_secret_is_taken_out_whole(half: str) -> None:
    measured = of_half(half, TRUE)
    missed = [case.kind for case in measured if case.leaks(redact(case.text))]
    assert len(missed) <= 0.02 * len(measured), missed


@pytest.mark.parametrize("half", HALVES)
def test_ordinary_text_is_hardly_ever_changed(half: str) -> None:
    measured = of_half(half, FALSE)
    changed = [case.kind for case in measured if redact(case.text) != case.text]
    assert len(changed) <= 0.01 * len(measured), changed


def test_the_quick_look_never_passes_over_a_secret() -> None:
    held = [case for case in TRUE if secrets_in(case.text)]
    assert [case.kind for case in held if is_plain(case.text)] == []
    # The journal looks at a whole payload, as JSON.
    assert [case.kind for case in held if is_plain(json.dumps({"text": case.text}, ensure_ascii=False))] == []


def test_a_secret_is_found_wherever_it_stands_in_a_text() -> None:
    for case in TRUE:
        if not secrets_in(case.text):
            continue
        for before, after in (("line\n", "\nline"), ("{\n", "\n}"), ("ä" * 3 + "İ\n", "\n😀")):
            assert not case.leaks(redact(before + case.text + after)), case.kind


def test_redacting_what_is_redacted_changes_nothing() -> None:
    for case in TRUE + FALSE:
        once = redact(case.text)
        assert redact(once) == once, case.kind


GLUE = [
    "\n",
    " ",
    "=",
    ": ",
    '"',
    "'",
    "\\n",
    "password",
    "token:",
    "://",
    "@",
    ", ",
    "[redacted:token]",
    "]",
]
PIECES = st.sampled_from([case.text for case in TRUE + FALSE] + GLUE * 8)


@settings(max_examples=rounds(60, 3000), deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=6))
def test_redacting_any_mixture_twice_is_redacting_it_once(pieces: list[str]) -> None:
    text = "".join(pieces)
    once = redact(text)
    assert redact(once) == once
    assert once == text or not (is_plain(text) or is_plain(json.dumps(text, ensure_ascii=False)))


@pytest.mark.slow
@settings(max_examples=rounds(60, 3000), deadline=None)
@given(st.text(max_size=300))
def test_any_text_can_be_redacted(text: str) -> None:
    once = redact(text)
    assert redact(once) == once
    once.encode("utf-8")


HOSTILE = (
    "password=", 'password="', "password='a", "token: ", "a.b-", "token", "A", '"', "eyJ", "://a:", "@", "-p ",
    "mysql -p", "-----BEGIN PRIVATE KEY-----", "Authorization: ", "Cookie: a=", "secret_key_", "sk-", "AAAA-aaaa1",
    "name: token\n", "docker login ", "echo a|", "x1" * 8 + " ", "\tTRUE\t1\t", 'variable "token" {', "ghp_1", "1//0",
    "session=", "[redacted:",
)  # fmt: skip


def test_no_text_takes_more_time_than_its_length_allows() -> None:
    length = rounds(50_000, 1_000_000)
    for piece in HOSTILE:
        text = (piece * (length // len(piece) + 1))[:length]
        began = time.process_time()
        redact(text)
        took = time.process_time() - began
        assert took < 8 * length / 1_000_000, f"{piece!r}: {took:.2f} s"


def test_the_library_still_has_every_detector_that_is_used() -> None:
    from engram_runtime.redaction.library import _detectors

    assert len(_detectors()) == len(_DETECTORS)


def coloured(text: str) -> bytes:
    """The text as a program with colours writes it: an escape sequence after every third character."""
    return "".join(
        char + ("\x1b[38;5;12m" if place % 3 == 2 and char != "\n" else "") for place, char in enumerate(text)
    ).encode()


def test_colours_between_its_characters_do_not_hide_a_secret() -> None:
    import re

    for case in TRUE:
        if not secrets_in(case.text):
            continue
        plain = re.sub(r"\x1b\[[0-9;]*m", "", redact_output(coloured(case.text)).decode())
        assert not case.leaks(plain), case.kind


def test_terminal_output_without_secrets_stays_byte_by_byte() -> None:
    for output in (
        b"\x1b[1mok\x1b[0m \xff\xfe caf\xc3",
        b"plain \x00 \xc3\x28",
        *(case.text.encode() for case in FALSE),
    ):
        assert redact_output(output) == output
