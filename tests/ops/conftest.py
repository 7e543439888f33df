"""Fixtures for kernel tests: each instruction set of this processor in turn."""

from collections.abc import Iterator

import pytest

from volkit.ops import backend


def _isas() -> list[str]:
    return list(backend.describe()["isas"]) or ["missing"]  # pyright: ignore[reportArgumentType]


@pytest.fixture(params=_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once with each instruction set that this processor has."""
    if backend.native_missing():
        pytest.skip(f"native kernels: {backend.native_missing()}")
    before = backend.isa()
    backend.use_isa(request.param)
    yield request.param
    backend.use_isa(before)
