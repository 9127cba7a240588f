#!/usr/bin/env python3
"""The same step under DeepSpeed ZeRO-3 on CPU ranks; rank 0 prints one JSON line: tokens/s over all ranks (median step),
proportional memory of all ranks after the passes (peak) and before the first step (base), losses.

Usage: DS_ACCELERATOR=cpu OMP_NUM_THREADS=1 deepspeed --num_accelerators N deepspeed_step.py --data FILE ...
"""
import argparse
import json
import statistics
import time

import deepspeed
import torch
import torch.distributed as dist

import models


def proportional_bytes():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))


def over_ranks(number):
    total = torch.tensor([float(number)], dtype=torch.float64)
    dist.all_reduce(total)
    return total.item()


def main():
    parser = argparse.ArgumentParser()
    models.add_arguments(parser)
    parser.add_argument("--local_rank", type=int, default=0)
    o = parser.parse_args()
    deepspeed.init_distributed("gloo")
    ranks, rank = dist.get_world_size(), dist.get_rank()
    data = models.read_tokens(o.data)
    model = models.build(o)
    rows = o.batch // ranks
    settings = dict(
        train_micro_batch_size_per_gpu=rows, gradient_accumulation_steps=1, gradient_clipping=1.0, zero_force_ds_cpu_optimizer=False,
        zero_optimization=dict(stage=3, overlap_comm=False),
        optimizer=dict(type="AdamW", params=dict(lr=1e-3, betas=[0.9, 0.95], eps=1e-8, weight_decay=0.1, torch_adam=True)))
    if o.precision == "bf16":
        settings["bf16"] = dict(enabled=True)
    engine = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=settings)[0]
    base = peak = proportional_bytes()
    losses, seconds = [], []
    for step in range(o.warmup + o.steps):
        begin = time.perf_counter()
        tokens, targets = models.rows_of(data, step * o.batch + rank * rows, rows, o.seq)
        loss = engine(tokens, targets)
        peak = max(peak, proportional_bytes())
        engine.backward(loss)
        peak = max(peak, proportional_bytes())
        engine.step()
        losses.append(round(over_ranks(loss.item()) / ranks, 5))
        seconds.append(time.perf_counter() - begin)
    peak, base = over_ranks(peak), over_ranks(base)
    if rank == 0:
        print("\n" + json.dumps(dict(tokens_per_second=o.batch * o.seq / statistics.median(seconds[o.warmup :]), peak_bytes=peak,
                                     base_bytes=base, losses=losses)), flush=True)


main()
