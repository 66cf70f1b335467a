"""How long does one step of Muon take, Loupe's beside torch.optim.Muon?

Both move the inner matrices of the tiny base: Loupe's orthogonalises all of one shape at once, in
float32 on a CPU, wide ones by their Gram matrix; torch's one at a time, in bfloat16, which CPUs
without bfloat16 units emulate. It matters because the optimizer runs once in every step, whatever
the batch. Measured in turns; the smallest time of each is the one least disturbed by neighbours.

Usage: python benchmarks/optimizer.py [--threads 1] [--repeats 5]
"""

import argparse
import json
import os
import platform
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from loupe import vlm
from loupe.train.optimizer import build_optimizer


def make_gradients(model: torch.nn.Module) -> None:
    """Give every parameter the same random gradient each time."""
    draw = torch.Generator().manual_seed(0)
    for value in model.parameters():
        value.grad = torch.randn(value.shape, generator=draw)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, _ = vlm.load_model_and_processor(vlm.TINY, dtype="float32")
    make_gradients(model)
    ours = build_optimizer(model, "muon", 1e-3, 0.0)
    matrices = next(group["params"] for group in ours.param_groups if group["is_muon"])
    ours.param_groups = [group for group in ours.param_groups if group["is_muon"]]
    theirs = torch.optim.Muon(matrices, lr=1e-3, weight_decay=0.0)
    milliseconds: dict[str, list[float]] = {"loupe": [], "torch": []}
    for _ in range(args.repeats):
        for name, optimizer in (("loupe", ours), ("torch", theirs)):
            started = time.perf_counter()
            optimizer.step()
            milliseconds[name].append(1e3 * (time.perf_counter() - started))
    for name, values in milliseconds.items():
        print(f"{name:6} {min(values):8.1f} ms at best, {max(values):8.1f} ms at worst")
    result = {
        "matrices": len(matrices),
        "parameters": sum(value.numel() for value in matrices),
        "milliseconds": milliseconds,
        "torch_over_loupe": min(milliseconds["torch"]) / min(milliseconds["loupe"]),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": args.threads,
        "machine": platform.machine(),
        "torch_version": torch.__version__,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
