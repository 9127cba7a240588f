#!/usr/bin/env python3
"""Trains in PyTorch and prints one JSON line: tokens/s (median step), peak and import memory, losses.

Usage: torch_step.py --data FILE [--model gpt2|llama] [--precision fp32|bf16] [--compile] [--SIZE N]...
"""
import argparse
import json
import resource
import statistics
import time

import torch

import models


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser()
    models.add_arguments(parser)
    parser.add_argument("--compile", action="store_true")
    o = parser.parse_args()
    imports = peak_bytes()
    data = models.read_tokens(o.data)
    model = models.build(o)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=True)
    loss_of = torch.compile(model) if o.compile else model
    losses, seconds = [], []
    for step in range(o.warmup + o.steps):
        begin = time.perf_counter()
        tokens, targets = models.rows_of(data, step * o.batch, o.batch, o.seq)
        with torch.autocast("cpu", torch.bfloat16, enabled=o.precision == "bf16"):
            loss = loss_of(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(round(loss.item(), 5))
        seconds.append(time.perf_counter() - begin)
    print(json.dumps(dict(tokens_per_second=o.batch * o.seq / statistics.median(seconds[o.warmup :]), peak_bytes=peak_bytes(),
                          base_bytes=imports, losses=losses)))


main()
