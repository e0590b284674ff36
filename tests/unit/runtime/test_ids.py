"""Session ids and tokens."""

from engram_runtime import ids


def test_session_ids_sort_by_time_and_are_safe_file_names() -> None:
    made = [ids.session_id(now) for now in (0, 1, 1_700_000_000, 1_700_000_000.5, 4_000_000_000)]
    assert made == sorted(made)
    assert all(ids.is_session_id(one) and len(one) == 12 for one in made)


def test_other_text_is_no_session_id() -> None:
    assert not any(map(ids.is_session_id, ["", "s1", "../../etc/passwd", "s1sxf09ykq4i", "s1sxf09ykq4c\n"]))


def test_ids_and_tokens_differ() -> None:
    assert len({ids.session_id(5.0) for _ in range(50)}) > 40
    assert ids.token() != ids.token()
    assert len(ids.token()) >= 43
