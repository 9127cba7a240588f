#!/usr/bin/env python3
"""Makes fixtures.json: losses and gradient norms of the transformers library's own GPT-2 and Llama from dsc's initial weights.

Needs PyTorch and transformers (users and tests do not):
    python3 -m venv .venv && .venv/bin/pip install torch==2.7.1 transformers
    .venv/bin/python tests/parity/make_fixtures.py build/release/compiler/driver/dsc

For each model: `dsc train --steps 0`, `dsc export`, then 20 steps of AdamW at a constant 1e-3 with clipping at 1 on
consecutive windows of the same text, in fp32 and under bf16 autocast. Asserts that no key is missing or unexpected.
"""
import json, os, subprocess, sys, tempfile
import torch, transformers

HERE = os.path.dirname(os.path.abspath(__file__))
TEXT = "/usr/share/common-licenses/GPL-3"
STEPS, BATCH, SEQUENCE = 20, 8, 64


def load(name, folder):
    cls = {"gpt2": transformers.GPT2LMHeadModel, "llama": transformers.LlamaForCausalLM}[name]
    model, info = cls.from_pretrained(folder, output_loading_info=True, torch_dtype=torch.float32)
    problems = {k: v for k, v in info.items() if v}
    assert not problems, problems
    return model.train()


def run(model, precision):
    data = torch.frombuffer(bytearray(open(TEXT, "rb").read()), dtype=torch.uint8).long()
    windows = (len(data) - 1) // SEQUENCE
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    losses, norms = [], []
    for step in range(STEPS):
        starts = [((step * BATCH + r) % windows) * SEQUENCE for r in range(BATCH)]
        x = torch.stack([data[s:s + SEQUENCE] for s in starts])
        y = torch.stack([data[s + 1:s + SEQUENCE + 1] for s in starts])
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = model(x).logits
        loss = torch.nn.functional.cross_entropy(logits.view(-1, logits.shape[-1]).float(), y.view(-1))
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        optimizer.step()
        losses.append(float(loss.detach()))
    return {"loss": losses, "grad_norm": norms}


def main():
    dsc = os.path.abspath(sys.argv[1])
    torch.set_num_threads(2)
    fixtures = {"torch": torch.__version__, "transformers": transformers.__version__}
    for name in ("gpt2", "llama"):
        with tempfile.TemporaryDirectory() as work:
            file = os.path.join(HERE, name + ".dsm")
            subprocess.run([dsc, "train", file, "--steps", "0", "--out", work + "/run"], check=True)
            subprocess.run([dsc, "export", work + "/run", "-o", work + "/hf"], check=True)
            fixtures[name] = {p: run(load(name, work + "/hf"), p) for p in ("fp32", "bf16")}
    with open(os.path.join(HERE, "fixtures.json"), "w") as out:
        json.dump(fixtures, out, indent=1)
        out.write("\n")
    print("wrote fixtures.json")


main()
