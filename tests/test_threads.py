"""Our own processes are set up before torch is loaded; a process that imports volkit is left as it is."""

import json
import os
import platform
import subprocess
import sys

import pytest

from volkit import threads

SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS", "VOLKIT_THREADS")
# Says, as the first line of the output, what the environment held at the moment when torch was looked for.
SPY = f"""
import json, os, sys
SETTINGS = {SETTINGS}
class Spy:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            sys.meta_path.remove(self)
            print(json.dumps(dict((k, os.environ.get(k)) for k in SETTINGS)), flush=True)
sys.meta_path.insert(0, Spy())
"""


def run(code: str, **extra: str) -> list[str]:
    environment = {k: v for k, v in os.environ.items() if k not in SETTINGS} | extra
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


COMMAND = SPY + "from volkit.cli import main\nmain(['doctor', '--json'%s])"


def test_a_command_sets_the_policy_before_torch_is_loaded():
    said = json.loads(run(COMMAND % "")[0])
    assert said["OMP_WAIT_POLICY"] == "passive" and said["GOMP_SPINCOUNT"] == "1000"
    said = json.loads(run(COMMAND % ", '--threads', '1'")[0])
    assert said["OMP_NUM_THREADS"] == "1"


def test_what_the_user_set_stays():
    said = json.loads(run(COMMAND % "", GOMP_SPINCOUNT="77")[0])
    assert said["GOMP_SPINCOUNT"] == "77" and said["OMP_WAIT_POLICY"] is None
    said = json.loads(run(COMMAND % "", OMP_WAIT_POLICY="active")[0])
    assert said["OMP_WAIT_POLICY"] == "active" and said["GOMP_SPINCOUNT"] is None


def test_importing_volkit_changes_nothing_in_the_host():
    code = """
import os, torch
before, threads = dict(os.environ), torch.get_num_threads()
import volkit, volkit.ops, volkit.io, volkit.rendering, volkit.threads
assert dict(os.environ) == before and torch.get_num_threads() == threads
"""
    run(code)


# How much of 8 MiB stays with the process that freed it: all of it where memory is kept.
FREED = """
import ctypes
def kept():
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    size = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
    libc.malloc(8 << 20)  # glibc raises its threshold to what was freed once: this one never is
    before, block = size(), libc.malloc(ctypes.c_size_t(8 << 20))
    ctypes.memset(ctypes.c_void_p(block), 1, 8 << 20)
    libc.free(ctypes.c_void_p(block))
    return size() - before > 4 << 20
"""


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="these are system calls of Linux on x86-64",
)
def test_the_native_module_leaves_allocator_and_processor_alone():
    code = (
        FREED
        + """
def amx():  # ARCH_GET_XCOMP_PERM: bit 18 is the state of AMX's tiles
    mask = ctypes.c_uint64(0)
    ctypes.CDLL(None).syscall(158, 0x1022, ctypes.byref(mask))
    return mask.value >> 18 & 1
import torch
before = amx()
from volkit.ops import backend
assert backend.isa() != "none" and amx() == before
assert not kept()
from volkit.threads import keep_memory
keep_memory()
print(int(kept()))
"""
    )
    (said,) = run(code)
    assert said == "1" or "glibc" not in os.confstr("CS_GNU_LIBC_VERSION")


def test_children_of_a_batch_are_set_up():
    code = (
        SPY
        + """
from types import SimpleNamespace
from volkit.commands.batch import _work
def threads(progress):
    import torch
    return {"threads": torch.get_num_threads()}
_work(SimpleNamespace(send=lambda report: print(report["threads"])), "target", threads, 1)
"""
    )
    said, count = run(code)
    assert json.loads(said)["OMP_WAIT_POLICY"] == "passive" and count == "1"


def test_a_number_of_threads_is_asked_for(monkeypatch):
    monkeypatch.setattr(threads.sys, "modules", {})  # torch of this process keeps its threads
    for name in SETTINGS:
        monkeypatch.setenv(name, "")  # so that what is set below is taken back
        monkeypatch.delenv(name)
    assert threads.apply_threads(3) == 3 and os.environ["OMP_NUM_THREADS"] == "3"
    assert threads.apply_threads() is None  # the user's own OMP_NUM_THREADS stays
    monkeypatch.setenv("VOLKIT_THREADS", "2")
    assert threads.apply_threads() == 2
    assert threads.apply_threads(4) == 4  # what was typed comes before the environment
    for wrong in ("0", "-1", "many"):
        monkeypatch.setenv("VOLKIT_THREADS", wrong)
        with pytest.raises(ValueError, match="thread"):
            threads.apply_threads()


def test_a_container_has_fewer_cores_than_it_sees(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    membership = tmp_path / "self"
    membership.write_text("0::/box/job\n")
    (tmp_path / "box" / "job").mkdir(parents=True)
    assert threads.available_cores(tmp_path, membership) == 16
    (tmp_path / "box" / "job" / "cpu.max").write_text("max 100000\n")
    assert threads.available_cores(tmp_path, membership) == 16
    (tmp_path / "box" / "cpu.max").write_text("250000 100000\n")
    assert threads.available_cores(tmp_path, membership) == 3
    (tmp_path / "box" / "job" / "cpu.max").write_text("50000 100000\n")
    assert threads.available_cores(tmp_path, membership) == 1
    membership.write_text("3:cpu,cpuacct:/docker/abc\n")  # version 1, the host's path
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert threads.available_cores(tmp_path, membership) == 16
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("400000\n")
    assert threads.available_cores(tmp_path, membership) == 4
