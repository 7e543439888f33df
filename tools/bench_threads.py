"""How threads should wait: seconds of the engine's work under OpenMP's policies, idle and beside busy loops.

    python tools/bench_threads.py --busy 4

GNU's OpenMP reads its policy when it is loaded, so that every case is a process of its own. Cases go in turn, round by
round; medians are printed, and kept as `threads` in tools/results/summary.jsonl with the load that was there.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from kept import keep, results

POLICIES = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "spin 1000": {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"},  # what volkit's processes have
    "spin 10000": {"GOMP_SPINCOUNT": "10000"},
    "spin 100000": {"GOMP_SPINCOUNT": "100000"},
}
CASES = ("picture", "steps", "splats")
SIZE, STEPS, FRAMES = 96, 40, 20


def main() -> None:
    """Run all cases under all policies, or one of them where this is the child."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--busy", type=int, default=0, help="busy loops beside the work")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES))
    parser.add_argument("--one", choices=CASES, help="run a case here and print its seconds")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(timed(options.one)))
        return
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.busy)]
    try:
        rows = table(options.rounds, options.policies)
    finally:
        for loop in loops:
            loop.kill()
    known = results().get("threads", {})
    known[f"{options.busy} busy loops"] = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "rows": rows}
    keep("threads", known)


def table(rounds: int, policies: list[str]) -> list[dict[str, float | str]]:
    """Medians of each case under each policy."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(rounds):
        for case in CASES:
            for policy in policies:
                line = [sys.executable, __file__, "--one", case]
                env = os.environ | POLICIES[policy]
                done = subprocess.run(line, env=env, capture_output=True, text=True, check=True)
                found.setdefault((case, policy), []).append(json.loads(done.stdout.splitlines()[-1]))
    rows = []
    for (case, policy), each in found.items():
        wall, cpu = (round(statistics.median(one[name] for one in each), 2) for name in ("wall", "cpu"))
        print(f"{case:8} {policy:12} wall {wall:7.2f} s   CPU {cpu:7.2f} s", flush=True)
        rows.append({"case": case, "policy": policy, "wall": wall, "cpu": cpu})
    return rows


def timed(case: str) -> dict[str, float]:
    """Wall and CPU seconds of one case, its imports and its first, smaller run left out."""
    work = {"picture": picture, "steps": steps, "splats": splats}[case]()
    work(0.1)
    wall, cpu = time.perf_counter(), time.process_time()
    work(1.0)
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def picture():
    """One picture of the bundled scene, marched: thousands of small operations."""
    import torch

    from volkit.io.fields.analytic_scene import bundled, read
    from volkit.rendering.renderer import renderer_for
    from volkit.rendering.viewpoints import distillation_cameras

    scene = read(bundled("still_life")).requires_grad_(False)
    cameras = distillation_cameras(scene, 1, SIZE, torch.Generator().manual_seed(0))[[0]]
    return lambda share: renderer_for(scene)(scene, cameras.resize(max(16, round(SIZE * share))))


def steps():
    """Steps of a hash grid that learns from photographs of noise."""
    import torch

    from volkit.data import Photographs
    from volkit.distillation.fit import FitSettings, trainee_from_photographs
    from volkit.geometry import Cameras, Domain
    from volkit.representations import HashGridConfig
    from volkit.training.loop import Budget, TrainingLoop

    generator = torch.Generator().manual_seed(0)
    domain = Domain((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
    centres = 3.0 * torch.nn.functional.normalize(torch.randn(8, 3, generator=generator), dim=-1)
    cameras = Cameras.looking_at(centres, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), 64.0, (64, 64))
    images = tuple(torch.randint(256, (64, 64, 3), generator=generator, dtype=torch.uint8) for _ in range(8))
    photos = Photographs(cameras, images, tuple("01234567"), 8 * ("train",), domain)
    field = HashGridConfig().build(domain, generator)
    trainee = trainee_from_photographs(field, photos, FitSettings(), generator)
    return lambda share: TrainingLoop(trainee, Budget(steps=round(STEPS * share))).run()


def splats():
    """Pictures of splats with their gradients."""
    import torch

    from volkit.geometry import Cameras, Domain
    from volkit.rendering.renderer import renderer_for
    from volkit.representations import SplatsConfig

    generator = torch.Generator().manual_seed(0)
    scene = SplatsConfig(count=20_000).build(Domain((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)), generator)
    eye = torch.tensor([[3.0, 0.0, 1.0]])
    cameras = Cameras.looking_at(eye, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), 300.0, (256, 256))

    def work(share: float) -> None:
        for _ in range(round(FRAMES * share)):
            renderer_for(scene)(scene, cameras).channels["rgb"].sum().backward()

    return work


if __name__ == "__main__":
    main()
