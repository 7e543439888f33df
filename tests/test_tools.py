"""Every script says what it does and starts; the documentation's tables are those of the kept results."""

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
    "measure_conversion",
    "measure_fit",
    "measure_generation",
    "measure_memory",
    "measure_mesh",
    "measure_splats",
    "render_tables",
    "train_toy_prior",
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_explain_themselves(script):
    done = subprocess.run(
        [sys.executable, TOOLS / f"{script}.py", "--help"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_the_pages_show_the_kept_results(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(TOOLS))
    import render_tables

    assert render_tables.main(["--check"]) == 0, capsys.readouterr().out


def test_tables_are_made_of_results(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(TOOLS))
    import kept
    import render_tables

    folder = tmp_path / "conversion"
    folder.mkdir()
    for method, psnr in (("volkit", 37.5), ("pvd", 31.25)):
        path = folder / f"hash_grid-tensor_vm-{method}-60s-0.json"
        path.write_text(f'{{"psnr": 30.125, "psnr_to_source": {psnr}, "seconds": 60, "bytes": 1e6}}')
    monkeypatch.setattr(kept, "RESULTS", tmp_path)
    assert "30.12 (37.5)" in render_tables.matrix()
    assert "| hash_grid to tensor_vm | 60s | 37.50 | 31.25 | - |" in render_tables.methods()
    assert render_tables.fits() == "Not measured yet.\n"
    text = "a\n<!-- table: fits -->\nold\n<!-- end -->\nb\n"
    assert render_tables.filled(text) == text.replace("old", "Not measured yet.")
