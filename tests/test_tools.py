"""Every script says what it does and starts; the documentation's tables are those of the kept results."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parent.parent / "tools"
SCRIPTS = (
    "bench_files",
    "bench_generation",
    "bench_ops",
    "make_api_pages",
    "make_cli_page",
    "make_licences",
    "make_strip",
    "bench_startup",
    "bench_threads",
    "measure_conversion",
    "measure_fit",
    "measure_generation",
    "measure_memory",
    "measure_mesh",
    "measure_splats",
    "render_tables",
    "train_toy_prior",
    "wheel_contents",
)


def test_a_script_is_a_program():
    done = subprocess.run(
        [sys.executable, TOOLS / "bench_ops.py", "--help"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_explain_themselves(script, monkeypatch, capsys):
    """As programs, but in this process, which has imported torch."""
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(TOOLS / f"{script}.py"), run_name="__main__")
    assert not ended.value.code
    assert "usage:" in capsys.readouterr().out


def test_the_pages_show_the_kept_results(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(TOOLS))
    import render_tables

    assert render_tables.main(["--check"]) == 0, capsys.readouterr().out


def test_tables_are_made_of_results(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(TOOLS))
    import kept
    import render_tables

    monkeypatch.setattr(kept, "SUMMARY", tmp_path / "results" / "summary.jsonl")
    row = {"psnr": 30.125, "seconds": 60, "bytes": 1e6}
    for method, psnr in (("pvd", 31.25), ("volkit", 11.0), ("volkit", 37.5)):  # what is measured anew replaces the old
        kept.keep(f"conversion/hash_grid-tensor_vm-{method}-60s-0", row | {"psnr_to_source": psnr})
    kept.keep("conversion/deeper/hash_grid-tensor_vm-pvd-al-60s-0", row | {"psnr_to_source": 11.0})  # another group's
    assert "30.12 (37.5)" in render_tables.matrix()
    assert "| hash_grid to tensor_vm | 60s | 37.50 | 31.25 | - |" in render_tables.methods()
    assert render_tables.fits() == "Not measured yet.\n"
    text = "a\n<!-- table: fits -->\nold\n<!-- end -->\nb\n"
    assert render_tables.filled(text) == text.replace("old", "Not measured yet.")


def test_a_measurement_that_was_stopped_goes_on(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(TOOLS))
    import cells
    import kept

    monkeypatch.setattr(kept, "SUMMARY", tmp_path / "summary.jsonl")
    report = {"psnr": 30.5, "seconds": 9, "history": [1], "source": str(tmp_path / "a.ply"),
              "backend": {"native": "available", "isa": "avx512", "libraries": {"gsplat": "absent"}}}  # fmt: skip
    asked = []
    for _ in range(2):  # the second time the kept one answers
        found = cells.measured("splats/a-b-60s", lambda: asked.append(1) or report, timed=False)
    assert len(asked) == 1 and found == kept.results("splats")["a-b-60s"]
    assert found["psnr"] == 30.5 and found["source"] == "a.ply" and "seconds" not in found and "history" not in found
    assert found["backend"] == {"native": "available", "isa": "avx512"} and found["machine"]["cores"] > 0
    cells.measured("splats/a-b-60s", lambda: asked.append(1) or report, tmp_path / "lost.ply", timed=False)
    assert len(asked) == 2  # what it made is not there any more
    assert [path.name for path in tmp_path.iterdir()] == ["summary.jsonl"]
