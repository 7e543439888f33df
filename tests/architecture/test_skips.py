"""The rule about skips sees one that nobody listed."""

from conftest import listed_reasons, unlisted


def test_unlisted_skips_are_seen():
    reasons = listed_reasons()
    assert reasons and unlisted("I had no time", reasons)
    assert not unlisted(f"{reasons[0]}: and more words", reasons)
