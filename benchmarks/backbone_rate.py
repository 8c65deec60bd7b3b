"""The backbone at work: `python -m benchmarks.backbone_rate [rate] [compile] [memory]`.

`rate`: images per second with all twelve blocks of ViT-Base training, and the share of the machine's own
matmul rate in the same dtype (target 60 %); from it, the backbone's part of the study preset's five folds is
projected.

`compile`: the same blocks through torch.compile, which the engine does not use: whether it would pay.

`memory`: peak memory of a step of batch x 4 views x 32 frames of 224 x 224 with all blocks training, on paper
and measured, a process each. `batches=1,2,4,16` chooses (a batch of 16 takes a quarter of an hour on two
cores), `memory=4` is step_memory.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.engine_folds import (
    BASE,
    DEVICE,
    encoder_of,
    machine,
    median_seconds,
    network_of,
    saved_backbone,
    settings_of,
)
from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.training.backbone_pass import (
    PassPlan,
    chunk_frames,
    frame_features,
    plan_pass,
    saved_bytes,
)
from cardio_mlflow.training.devices import backbone_autocast, compute_dtype
from cardio_mlflow.training.state import new_state

PRODUCTS = ((4096, 4096, 4096), (2048, 2048, 2048), (1576, 768, 3072), (3152, 3072, 768))
"""Rows, inner and columns of the products whose best rate is the machine's own."""
STUDY = {"patients": 235, "frames": 4 * 32, "epochs": 100, "stages": 12, "folds": 5}


def main() -> None:
    options = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    parts = [word for word in sys.argv[1:] if "=" not in word] or ["rate", "compile", "memory"]
    if parts == ["step"]:
        measure_step(int(options["batch"]), float(options["memory"]))
        return
    print(machine())
    for part in parts:
        {"rate": rate, "compile": compiled, "memory": memory}[part](options)


def rate(_options: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        encoder = encoder_of(saved_backbone(Path(name), BASE))
    encoder.train().requires_grad_(True)
    frames = 16 if DEVICE.type == "cpu" else 512
    print(f"\nAll 12 blocks training, {frames} frames, medians of 3")
    print(f"{'':40}{'images/s':>10}{'GFLOP/s':>10}{'matmul':>10}{'share':>8}")
    for precision in ("fp32", "auto"):
        dtype = compute_dtype(precision, DEVICE)
        own = matmul_rate(dtype)
        for limit, label in ((1e15, "activations kept"), (2**29, "beyond 0.5 GiB recomputed")):
            plan = plan_pass(encoder, 12, frames, dtype, limit)
            images = frames / step_seconds(encoder, frames, dtype, plan)
            done = images * step_flops(encoder, 12) * (4 / 3 if plan.recompute else 1)
            name = f"{precision}, {label}"
            print(f"{name:40}{images:10.1f}{done / 1e9:10.1f}{own / 1e9:10.1f}{100 * done / own:7.1f}%")
    print(f"\nThe study preset's {STUDY['folds']} folds, backbone work only, at the last rate: "
          f"{study_seconds(encoder, images) / 3600:.1f} h")  # fmt: skip


def compiled(_options: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        encoder = encoder_of(saved_backbone(Path(name), BASE | {"num_hidden_layers": 2}))
    encoder.train().requires_grad_(True)
    dtype, frames = compute_dtype("auto", DEVICE), chunk_frames(encoder)
    tokens = torch.randn(frames, encoder.token_count, encoder.width, device=DEVICE, dtype=dtype)

    def step(end: Callable[[Tensor], Tensor]) -> None:
        encoder.zero_grad(set_to_none=True)
        with backbone_autocast(dtype, DEVICE):
            features = end(tokens)
        features.float().square().mean().backward()

    def plain(chunk: Tensor) -> Tensor:
        return encoder.pool(encoder.blocks(chunk, 0))

    faster, start = torch.compile(plain), time.perf_counter()
    step(faster)
    spent = time.perf_counter() - start
    pairs = [
        (median_seconds(lambda: step(plain), 5), median_seconds(lambda: step(faster), 5)) for _ in range(3)
    ]
    ratio = sorted(one / two for one, two in pairs)[1]
    print(f"\ntorch.compile, 2 blocks, a chunk of {frames} frames: {ratio:.2f} times as fast,")
    print(f"after {spent:.0f} s of compiling")


def matmul_rate(dtype: torch.dtype) -> float:
    """The machine's own rate, FLOP/s: the best of a few products."""
    rates = []
    for rows, inner, columns in PRODUCTS:
        a = torch.randn(rows, inner, device=DEVICE, dtype=dtype)
        b = torch.randn(inner, columns, device=DEVICE, dtype=dtype)
        rates.append(2 * rows * inner * columns / median_seconds(lambda a=a, b=b: a @ b, 7))
    return max(rates)


def step_seconds(encoder: FrameEncoder, frames: int, dtype: torch.dtype, plan: PassPlan) -> float:
    tokens = torch.randn(frames, encoder.token_count, encoder.width, device=DEVICE, dtype=dtype)

    def step() -> None:
        encoder.zero_grad(set_to_none=True)
        with backbone_autocast(dtype, DEVICE):
            features = frame_features(encoder, tokens, 0, plan)
        features.float().square().mean().backward()

    return median_seconds(step, 3)


def step_flops(encoder: FrameEncoder, blocks: int) -> float:
    """Matrix products of a training step of one frame: forward, and twice that backward.

    A block has 2 · L · (4 D² + 2 D H) in its linear layers and 4 · L² · D in its attention. The lowest
    trained block needs no gradient through query, key and value to its input: 2 · L · 3 D² less.
    """
    config, tokens = encoder.vit.config, encoder.token_count
    width, hidden = config.hidden_size, config.intermediate_size
    block = 2 * tokens * (4 * width**2 + 2 * width * hidden) + 4 * tokens**2 * width
    return 3.0 * blocks * block - 6 * tokens * width**2


def study_seconds(encoder: FrameEncoder, images: float) -> float:
    """Seconds of the study's backbone work at the rate, in images/s, of steps with all blocks."""
    epochs = STUDY["epochs"] / (STUDY["stages"] + 1)
    clips = STUDY["patients"] * STUDY["frames"]
    stages = sum(step_flops(encoder, blocks) for blocks in range(1, STUDY["stages"] + 1)) * epochs * clips
    share = 1 - 1 / STUDY["folds"]
    folds = STUDY["folds"] * stages * (share + (1 - share) / 3)  # validation has no backward pass
    once = step_flops(encoder, 12) / 3 * clips
    return (folds + once) / (step_flops(encoder, 12) * images)


def memory(options: dict[str, str]) -> None:
    limit = options.get("memory", "4")
    print(
        f"\nOne step, all 12 blocks training, 128 frames a patient, step_memory={limit}; GiB over the start"
    )
    print(f"{'batch':>6}{'images':>8}{'on paper':>10}{'measured':>10}{'all kept':>10}{'seconds':>10}")
    for batch in options.get("batches", "1,2,4").split(","):
        words = ["step", f"batch={batch}", f"memory={limit}"]
        command = [sys.executable, "-m", "benchmarks.backbone_rate", *words]
        print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.rstrip())


def measure_step(batch: int, limit: float) -> None:
    """Take one step in this process; print its peak beside the paper's, and what keeping all would take."""
    settings = settings_of(precision="auto", batch_size=batch)
    with tempfile.TemporaryDirectory() as name:
        network = network_of(saved_backbone(Path(name), BASE), settings).train()
    network.encoder.vit.embeddings.requires_grad_(False)
    encoder, state = network.encoder, new_state(network, settings)
    dtype, frames = compute_dtype("auto", DEVICE), batch * STUDY["frames"]
    start, before = time.perf_counter(), held_bytes()
    tokens = torch.randn(frames, encoder.token_count, encoder.width, dtype=dtype, device=DEVICE)
    plan = plan_pass(encoder, 12, frames, dtype, limit * 2**30)
    with backbone_autocast(dtype, DEVICE):
        features = frame_features(encoder, tokens, 0, plan)
    present = torch.ones(batch, 4, dtype=torch.bool, device=DEVICE)
    network.from_frame_features(features, present).predictions.square().mean().backward()
    state.optimizer.step()
    measured, seconds = peak_bytes() - before, time.perf_counter() - start
    weights = sum(p.numel() for p in network.parameters())
    casts = dtype.itemsize if dtype != torch.float32 else 0
    fixed = tokens.nbytes + weights * (4 + 8 + casts)  # gradients, AdamW's moments, casts of the weights
    each = saved_bytes(encoder, 12, dtype)
    paper = fixed + each * (plan.frames if plan.recompute else frames)
    sizes = "".join(f"{value / 2**30:10.2f}" for value in (paper, measured, fixed + each * frames))
    print(f"{batch:6}{frames:8}{sizes}{seconds:10.1f}")


def held_bytes() -> int:
    """Memory that this process holds now; on a GPU the peak is counted from here."""
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak_bytes() -> int:
    """The most that this process has held (on a GPU since ``held_bytes``)."""
    if DEVICE.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
