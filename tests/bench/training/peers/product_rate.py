#!/usr/bin/env python3
"""GFLOP/s of oneDNN (and of what torch.mm calls), on all cores, on products weighted by their FLOPs. One number on stdout.
bf16 is multiplied in f32 where oneDNN has no bf16 for the CPU (without AVX-512): that is the faster there.

Usage: product_rate.py fp32|bf16 MxNxKxCOUNT...
"""
import sys
import time

import torch


def best_seconds(run):
    run()
    best = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begin)
    return best


def main():
    bf16 = sys.argv[1] == "bf16" and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    kind = torch.bfloat16 if bf16 else torch.float32
    flops = seconds = 0.0
    for shape in sys.argv[2:]:
        m, n, k, count = map(int, shape.split("x"))
        x, w = torch.randn(m, k).to(kind), torch.randn(n, k).to(kind)
        times = [best_seconds(lambda: torch.mm(x, w.t())), best_seconds(lambda: torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], ""))]
        flops += 2.0 * m * n * k * count
        seconds += min(times) * count
    print(flops / seconds * 1e-9)


with torch.no_grad():
    main()
