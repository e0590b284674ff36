from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy
import pytest

from engram_runtime.memory.vector_cache import VectorCache, digest_of, erase, restored, rounded
from engram_runtime.paths import HomeFiles

ONE, TWO = (b"\x01\x02" * 384, b"codes of one"), (b"\x03\x04" * 384, b"")


def files(home: Path) -> list[Path]:
    return sorted(HomeFiles(home).vectors.glob("*.sqlite"))


def test_what_was_kept_is_found_again_by_the_text_alone(home: Path) -> None:
    cache = VectorCache(home, "m")
    cache.keep([(digest_of("one"), ONE), (digest_of("two"), TWO)])
    cache.close()
    again = VectorCache(home, "m")
    assert again.find([digest_of("two"), digest_of("three"), digest_of("one")]) == {
        digest_of("one"): ONE,
        digest_of("two"): TWO,
    }
    assert VectorCache(home, "other model").find([digest_of("one")]) == {}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files(home)} == {0o600}
    again.close()


def test_a_vector_from_the_cache_is_bit_for_bit_the_one_made_new() -> None:
    vector = numpy.random.default_rng(1).standard_normal(384).astype(numpy.float32)
    vector /= numpy.linalg.norm(vector)
    kept = rounded(vector)
    assert len(kept) == 768
    made = numpy.frombuffer(restored(kept), "<f4")
    assert abs(float(numpy.linalg.norm(made)) - 1) < 1e-6
    assert float(made @ vector) > 0.999999
    assert restored(kept) == restored(kept)


@pytest.mark.parametrize("erased", [["one"], None])
def test_what_is_erased_is_nowhere_in_the_home_and_the_rest_goes_on(
    home: Path, erased: list[str] | None
) -> None:
    secret = (os.urandom(768), os.urandom(500))
    cache = VectorCache(home, "m")
    cache.keep([(digest_of("one"), secret), (digest_of("two"), TWO)])
    assert erase(home, erased) >= 1
    for file in home.rglob("*"):
        if file.is_file():
            assert secret[0][:64] not in file.read_bytes()
            assert secret[1][:64] not in file.read_bytes()
    assert cache.find([digest_of("one")]) == {}
    assert cache.find([digest_of("two")]) == ({digest_of("two"): TWO} if erased else {})
    cache.keep([(digest_of("three"), ONE)])
    assert cache.find([digest_of("three")]) == {digest_of("three"): ONE}
    cache.close()


def test_nothing_to_erase_is_no_error(home: Path) -> None:
    assert erase(home) == 0
    assert erase(home, ["one"]) == 0


def test_a_damaged_cache_is_begun_anew(home: Path) -> None:
    cache = VectorCache(home, "m")
    cache.keep([(digest_of("one"), ONE)])
    cache.close()
    (file,) = files(home)
    file.write_bytes(b"this is no database" * 1000)
    again = VectorCache(home, "m")
    assert again.find([digest_of("one")]) == {}
    again.keep([(digest_of("one"), ONE)])
    assert again.find([digest_of("one")]) == {digest_of("one"): ONE}
    again.close()


def test_a_home_that_cannot_be_written_has_no_cache_and_no_error(home: Path) -> None:
    HomeFiles(home).vectors.write_text("a file where the folder belongs")
    cache = VectorCache(home, "m")
    cache.keep([(digest_of("one"), ONE)])
    assert cache.find([digest_of("one")]) == {}
    cache.close()
