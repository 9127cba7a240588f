#!/usr/bin/env python3
"""dsc against PyTorch and DeepSpeed on this machine's CPU, in one run: medians of alternating runs, ratios, memory, and the share of
the product rate that the whole step reaches.

Usage: python3 tests/bench/training/speed.py [--part one-rank|ranks|scaling|124m]... [--rounds N] [--data FILE] [--venv DIR]
Without --venv a throwaway environment with PyTorch and DeepSpeed is made from PyPI (some 6 GB) and removed again.
The text is FILE, or this system's licences.
"""
import argparse
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../../.."))
DSC = os.path.join(ROOT, "build/release/compiler/driver/dsc")
RATE = os.path.join(ROOT, "build/release/tests/bench/training/product_rate")
PACKAGES = ["torch==2.7.1", "deepspeed==0.17.6", "numpy", "setuptools<80"]
PARTS = ["one-rank", "ranks", "scaling", "124m"]

SMALL = dict(layers=6, width=384, heads=6, vocab=256, context=256, batch=16, seq=256, kv_heads=6, hidden=1024)
GPT2_124M = dict(layers=12, width=768, heads=12, vocab=50257, context=1024, batch=4, seq=512, kv_heads=12, hidden=2048)
STEPS, WARMUP = 8, 3

PROGRAM = """use std.{model}

data {{
  train    = text("{data}", tokenizer: bytes)
  sequence = {seq}
  order    = sequential
}}
train {{
  model     = {call}
  steps     = {steps}
  batch     = {batch}
  optimizer = adamw(lr: constant(1e-3), betas: (0.9, 0.95), weight_decay: 0.1)
  precision = {precision}
  clip_norm = 1.0
  seed      = 1
}}
layout ranks {{ mesh (data: auto) split batch over data zero 3 over data micro_batch {micro_batch} }}
"""


def run(command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nfailed with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


class Bench:
    def __init__(self, options, folder, python):
        self.rounds, self.data, self.folder, self.python = options.rounds, options.data, folder, python

    # ---- One run of each side: {tokens_per_second, bytes, ...} ----
    def program(self, model, precision, sizes, ranks):
        names = ["vocab", "context", "layers", "width", "heads"] if model == "gpt2" else ["vocab", "layers", "width", "heads", "kv_heads", "hidden"]
        call = f"{model}({', '.join(f'{n}: {sizes[n]}' for n in names)})"
        path = os.path.join(self.folder, f"{model}_{precision}_{ranks}.dsm")
        with open(path, "w") as file:
            file.write(PROGRAM.format(model=model, data=self.data, seq=sizes["seq"], call=call, steps=STEPS + WARMUP, batch=sizes["batch"],
                                      precision=precision, micro_batch=sizes["batch"] // ranks))
        return path

    def dsc(self, model, precision, sizes, ranks=1):
        path, out = self.program(model, precision, sizes, ranks), os.path.join(self.folder, "out")
        shutil.rmtree(out, ignore_errors=True)
        run([DSC, "train", path, "--gpus", str(ranks), "--layout", "ranks", "--device", "cpu", "--out", out])
        with open(os.path.join(out, "metrics.jsonl")) as file:
            steps = [json.loads(line) for line in file]
        seconds = [s["step_seconds"] for s in steps if "step_seconds" in s][WARMUP:]
        with open(os.path.join(out, "run.json")) as file:
            peak = json.load(file)["process_peak_bytes"]
        return dict(tokens_per_second=sizes["batch"] * sizes["seq"] / statistics.median(seconds), bytes=peak, losses=[s["loss"] for s in steps if "loss" in s])

    def peer(self, command, model, precision, sizes, **more):
        arguments = [f"--{name}={value}" for name, value in sizes.items()]
        text = run(command + ["--data", self.data, "--model", model, "--precision", precision, f"--steps={STEPS}", f"--warmup={WARMUP}"] + arguments, **more)
        result = json.loads([line for line in text.splitlines() if line.startswith("{")][-1])
        result["bytes"] = result["peak_bytes"] - result["base_bytes"]
        return result

    def torch(self, model, precision, sizes, compiled=False):
        return self.peer([self.python, os.path.join(HERE, "peers/torch_step.py")] + (["--compile"] if compiled else []), model, precision, sizes)

    def deepspeed(self, model, precision, sizes, ranks):
        environment = dict(os.environ, DS_ACCELERATOR="cpu", OMP_NUM_THREADS="1", PATH=os.path.dirname(self.python) + ":" + os.environ["PATH"])
        command = [os.path.join(os.path.dirname(self.python), "deepspeed"), "--num_accelerators", str(ranks), os.path.join(HERE, "peers/deepspeed_step.py")]
        return self.peer(command, model, precision, sizes, env=environment)

    # ---- The rate of products ----
    def step(self, model, precision, sizes):
        """FLOPs of a step, and its products as MxNxKxCOUNT."""
        path, plan = self.program(model, precision, sizes, 1), os.path.join(self.folder, "plan.json")
        run([DSC, "plan", path, "--gpus", "1", "--layout", "ranks", "-o", plan])
        flops = json.loads(run([DSC, "explain", path, "--gpus", "1", "--layout", "ranks", "--json"]))["flops_per_step"]
        with open(plan) as file:
            program = next(p for p in json.load(file)["programs"] if p["name"] == "step")
        shapes = {}
        for section in program["sections"]:
            for instruction in section["instructions"]:
                product = instruction["op"].get("product")
                if product and not product["batch"]:
                    key = (product["m"], product["n"], product["k"])
                    shapes[key] = shapes.get(key, 0) + section["iterations"]
        return flops, ["x".join(map(str, key + (count,))) for key, count in shapes.items()]

    def product_rate(self, precision, shapes):
        """GFLOP/s of the kernels that dsc uses (LIBXSMM's, or its own in matrix registers) and of PyTorch's (oneDNN)."""
        return [float(run(command + [precision] + shapes)) for command in ([RATE], [self.python, os.path.join(HERE, "peers/product_rate.py")])]

    # ---- Comparisons ----
    def alternate(self, sides, each_round=lambda: None):
        """Medians over the rounds, by side."""
        results = {name: [] for name in sides}
        for _ in range(self.rounds):
            each_round()
            for name, side in sides.items():
                results[name].append(side())
        medians = {}
        for name, runs in results.items():
            medians[name] = dict(runs[-1], **{key: statistics.median(r[key] for r in runs) for key in ("tokens_per_second", "bytes")})
            speeds = " ".join(f"{r['tokens_per_second']:.0f}" for r in runs)
            print(f"  {name:22s} {medians[name]['tokens_per_second']:8.0f} tokens/s  {medians[name]['bytes'] / 1e6:6.0f} MB   (runs: {speeds})", flush=True)
        return medians

    def judge(self, ours, peers, aim, share, share_aim):
        best = max(peers, key=lambda p: p["tokens_per_second"])
        ratio = ours["tokens_per_second"] / best["tokens_per_second"]
        held = "the ratio" if ratio >= aim else "the share" if share >= share_aim else "NEITHER"
        print(f"  speed: {ratio:.2f}x (aim {aim}x), {100 * share:.0f}% of the product rate (aim {100 * share_aim:.0f}%): {held} holds", flush=True)

    def judge_memory(self, ours, memory, memory_aim):
        part = ours["bytes"] / memory["bytes"]
        print(f"  memory: {part:.2f}x (aim at most {memory_aim}x): {'holds' if part <= memory_aim else 'DOES NOT HOLD'}", flush=True)

    def compare(self, title, model, precision, sizes, sides, aim, memory, ours=("dsc",)):
        """`memory`: which side of ours, against which peer, and the aim."""
        print(title, flush=True)
        flops, shapes = self.step(model, precision, sizes)
        # In each round, as the runs: the machine's clock and its other work change from minute to minute.
        rates = []
        medians = self.alternate(sides, lambda: rates.append(self.product_rate(precision, shapes)))
        blocks, onednn = map(statistics.median, zip(*rates))
        runs = " ".join(f"{a:.0f}/{b:.0f}" for a, b in rates)
        print(f"  product rate on these shapes: dsc's kernels {blocks:.0f}, oneDNN {onednn:.0f} GFLOP/s   (rounds: {runs})", flush=True)
        rate = 1e9 * max(blocks, onednn)
        peers = [m for name, m in medians.items() if not name.startswith("dsc")]
        for name in ours:
            share = flops * medians[name]["tokens_per_second"] / (sizes["batch"] * sizes["seq"]) / rate
            print(f"  {name}:")
            self.judge(medians[name], peers, aim, share, 0.8 if precision == "fp32" else 0.7)
        own, peer, memory_aim = memory
        self.judge_memory(medians[own], medians[peer], memory_aim)

    def one_rank(self):
        for model in ("gpt2", "llama"):
            for precision, aim in (("fp32", 1.5), ("bf16", 1.4)):
                sides = {"dsc": lambda: self.dsc(model, precision, SMALL), "PyTorch": lambda: self.torch(model, precision, SMALL),
                         "PyTorch compiled": lambda: self.torch(model, precision, SMALL, compiled=True)}
                self.compare(f"{model}, {precision}, one rank", model, precision, SMALL, sides, aim, ("dsc", "PyTorch", 0.6))

    def ranks(self):
        for precision, aim in (("fp32", 1.6), ("bf16", 1.4)):
            sides = {f"DeepSpeed, {n} ranks": lambda n=n: self.deepspeed("gpt2", precision, SMALL, n) for n in (2, 4)}
            sides.update({f"dsc, {n} ranks": lambda n=n: self.dsc("gpt2", precision, SMALL, n) for n in (2, 4)})
            self.compare(f"gpt2, {precision}, ZeRO-3", "gpt2", precision, SMALL, sides, aim, ("dsc, 4 ranks", "DeepSpeed, 4 ranks", 0.5),
                         ("dsc, 2 ranks", "dsc, 4 ranks"))

    def scaling(self):
        for precision in ("fp32", "bf16"):
            print(f"gpt2, {precision}, ZeRO-3 over ranks at a fixed batch", flush=True)
            medians = self.alternate({f"dsc, {n} ranks": lambda n=n: self.dsc("gpt2", precision, SMALL, n) for n in (1, 2, 4, 8)})
            kept = medians["dsc, 8 ranks"]["tokens_per_second"] / medians["dsc, 1 ranks"]["tokens_per_second"]
            print(f"  8 ranks keep {100 * kept:.0f}% of one rank's speed (aim 85%)", flush=True)

    def large(self):
        sides = {"dsc": lambda: self.dsc("gpt2", "bf16", GPT2_124M), "PyTorch": lambda: self.torch("gpt2", "bf16", GPT2_124M)}
        self.compare("GPT-2 of 124M parameters, bf16, one rank, batch 4 x 512", "gpt2", "bf16", GPT2_124M, sides, 1.5, ("dsc", "PyTorch", 0.65))


def text_of_licences(folder):
    path = os.path.join(folder, "text.txt")
    with open(path, "wb") as out:
        for name in sorted(glob.glob("/usr/share/common-licenses/*")):
            if os.path.isfile(name) and not os.path.islink(name):
                with open(name, "rb") as file:
                    out.write(file.read())
    return path


def environment(options, folder):
    if options.venv:
        return os.path.join(os.path.abspath(options.venv), "bin/python")
    python = os.path.join(folder, "venv/bin/python")
    print("making an environment with " + ", ".join(PACKAGES), flush=True)
    run([sys.executable, "-m", "venv", os.path.join(folder, "venv")])
    run([python, "-m", "pip", "install", "-q"] + PACKAGES)
    run([python, "-m", "pip", "uninstall", "-q", "-y", "triton"])
    return python


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data")
    parser.add_argument("--venv")
    options = parser.parse_args()
    for program in (DSC, RATE):
        if not os.path.exists(program):
            sys.exit("build first: bash examples/build.sh dsc product_rate")
    with tempfile.TemporaryDirectory() as folder:
        options.data = os.path.abspath(options.data) if options.data else text_of_licences(folder)
        bench = Bench(options, folder, environment(options, folder))
        for part in options.part or PARTS:
            {"one-rank": bench.one_rank, "ranks": bench.ranks, "scaling": bench.scaling, "124m": bench.large}[part]()


main()
