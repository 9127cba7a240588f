"""GPT-2 and Llama in PyTorch, as a user would write them: the shapes of the models that dsc is compared on."""
import math

import torch
from torch import nn
from torch.nn import functional as F


def split_heads(x, heads):
    rows, length, _ = x.shape
    return x.view(rows, length, heads, -1).transpose(1, 2)


def join_heads(x):
    rows, heads, length, size = x.shape
    return x.transpose(1, 2).reshape(rows, length, heads * size)


class Gpt2Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        x = x + self.out(join_heads(F.scaled_dot_product_attention(q, k, v, is_causal=True)))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self, vocab, context, layers, width, heads):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Gpt2Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        initialise(self, layers, [b.out for b in self.blocks] + [b.down for b in self.blocks])

    def forward(self, tokens, targets):
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return loss_of(F.linear(self.norm(x), self.tokens.weight), targets)


class LlamaBlock(nn.Module):
    def __init__(self, width, heads, kv_heads, hidden, context):
        super().__init__()
        self.heads, self.kv_heads = heads, kv_heads
        size = width // heads
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
        linear = lambda a, b: nn.Linear(a, b, bias=False)
        self.q, self.k, self.v = linear(width, width), linear(width, kv_heads * size), linear(width, kv_heads * size)
        self.out, self.gate, self.up, self.down = linear(width, width), linear(width, hidden), linear(width, hidden), linear(hidden, width)
        angles = torch.arange(context).float()[:, None] * 10000.0 ** (-torch.arange(0, size, 2) / size)
        self.register_buffer("cos", angles.cos().repeat(1, 2), persistent=False)
        self.register_buffer("sin", angles.sin().repeat(1, 2), persistent=False)

    def rotate(self, x):
        length, half = x.shape[2], x.shape[3] // 2
        turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
        return (x * self.cos[:length] + turned * self.sin[:length]).to(x.dtype)

    def forward(self, x):
        y = self.norm1(x)
        q, k, v = split_heads(self.q(y), self.heads), split_heads(self.k(y), self.kv_heads), split_heads(self.v(y), self.kv_heads)
        grouped = self.kv_heads != self.heads
        attended = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, is_causal=True, enable_gqa=grouped)
        x = x + self.out(join_heads(attended))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    def __init__(self, vocab, context, layers, width, heads, kv_heads, hidden):
        super().__init__()
        self.tokens, self.head = nn.Embedding(vocab, width), nn.Linear(width, vocab, bias=False)
        self.blocks = nn.ModuleList(LlamaBlock(width, heads, kv_heads, hidden, context) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        initialise(self, layers, [b.out for b in self.blocks] + [b.down for b in self.blocks])

    def forward(self, tokens, targets):
        x = self.tokens(tokens)
        for block in self.blocks:
            x = block(x)
        return loss_of(self.head(self.norm(x)), targets)


def initialise(model, layers, residual):
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.02)
    for linear in residual:
        nn.init.normal_(linear.weight, std=0.02 / math.sqrt(2 * layers))


def loss_of(logits, targets):
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def add_arguments(parser):
    for name, default in dict(layers=6, width=384, heads=6, kv_heads=6, hidden=1024, context=256, vocab=256, batch=16, seq=256,
                              steps=8, warmup=3).items():
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--model", choices=["gpt2", "llama"], default="gpt2")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--data", required=True)


def build(o):
    torch.manual_seed(0)
    if o.model == "gpt2":
        return Gpt2(o.vocab, o.context, o.layers, o.width, o.heads)
    return Llama(o.vocab, o.context, o.layers, o.width, o.heads, o.kv_heads, o.hidden)


def read_tokens(path):
    with open(path, "rb") as file:
        return torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).long()


def rows_of(data, first, count, seq):
    """Sequences first, first + 1, ... of the text, one after the other, and their targets."""
    starts = [(first + r) * seq % (len(data) - seq - 1) for r in range(count)]
    return torch.stack([data[s : s + seq] for s in starts]), torch.stack([data[s + 1 : s + seq + 1] for s in starts])
