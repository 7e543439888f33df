"""What every test shares: where real data lies, few threads, and no skip that nobody listed."""

import os
from pathlib import Path

import pytest

from volkit.threads import keep_memory, set_wait_policy

set_wait_policy()  # before torch is loaded, here and in the workers, which inherit it
keep_memory()

import torch  # noqa: E402

ROOT = Path(__file__).parent.parent
LISTED = Path(__file__).parent / "skips.txt"


def pytest_configure() -> None:
    beside_others = "PYTEST_XDIST_WORKER" in os.environ
    torch.set_num_threads(1 if beside_others else min(2, torch.get_num_threads()))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real scenes made by others; skips where they are absent."""
    folder = Path(os.environ.get("VOLKIT_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("real data is absent: set VOLKIT_DATA")
    return folder


@pytest.fixture
def small_kinds(monkeypatch) -> None:
    """Kinds as the command line builds them where nobody says how large: of the usual form, and quick."""
    from small_kinds import small_defaults

    for constructor, defaults in small_defaults():
        monkeypatch.setattr(constructor, "__defaults__", defaults)


@pytest.fixture
def few_views(monkeypatch) -> None:
    """Meshes are made of a quarter of the usual pictures: those of small things cost as much as of large ones."""
    monkeypatch.setattr("volkit.meshing.pipeline.VISIBILITY_VIEWS", 40)
    monkeypatch.setattr("volkit.meshing.pipeline.COLOUR_VIEWS", 16)


def listed_reasons() -> list[str]:
    """Reasons that tests may skip for, each the beginning of the skip's own words."""
    lines = LISTED.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def unlisted(reason: str, reasons: list[str]) -> bool:
    """Whether a skip is one that nobody listed."""
    return not any(reason.startswith(listed) for listed in reasons)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if unlisted(reason, listed_reasons()):
            report.outcome = "failed"
            report.longrepr = f"unlisted skip: '{reason}': make the test run, or list its reason in tests/skips.txt"
    return report
