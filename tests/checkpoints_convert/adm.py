"""The network of Dhariwal & Nichol 2021 (ADM; section 3 and appendix) in PyTorch, with the names of its published weights.

Written from the architecture's description for comparison with `checkpoints_convert.guided_diffusion`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels)


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, time: int, modulate: bool, resample: str | None = None):
        super().__init__()
        self.modulate, self.resample = modulate, resample
        self.in_layers = nn.Sequential(norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time, 2 * outputs if modulate else outputs))
        self.out_layers = nn.Sequential(norm(outputs), nn.SiLU(), nn.Dropout(0.1), nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip_connection = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, embedding):
        resize = {None: lambda x: x, "up": lambda x: F.interpolate(x, scale_factor=2), "down": lambda x: F.avg_pool2d(x, 2)}
        resize = resize[self.resample]
        h = self.in_layers[2](resize(self.in_layers[1](self.in_layers[0](x))))
        time = self.emb_layers(embedding)[:, :, None, None]
        if self.modulate:
            scale, shift = time.chunk(2, dim=1)
            h = self.out_layers[0](h) * (1 + scale) + shift
        else:
            h = self.out_layers[0](h + time)
        return self.skip_connection(resize(x)) + self.out_layers[1:](h)


class Attention(nn.Module):
    """One channel-by-position matrix an image; each head's rows are cut out one by one."""

    def __init__(self, channels: int, head: int, order: str):
        super().__init__()
        self.channels, self.head, self.order = channels, head, order
        self.norm, self.qkv = norm(channels), nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def rows(self, part: int, number: int) -> slice:
        start = 3 * number * self.head + part * self.head if self.order == "legacy" else part * self.channels + number * self.head
        return slice(start, start + self.head)

    def forward(self, x, embedding):
        qkv = self.qkv(self.norm(x).flatten(2))
        heads = []
        for number in range(self.channels // self.head):
            q, k, v = (qkv[:, self.rows(part, number)] for part in range(3))
            weights = torch.softmax(q.transpose(1, 2) @ k / math.sqrt(self.head), dim=-1)
            heads.append(v @ weights.transpose(1, 2))
        return x + self.proj_out(torch.cat(heads, dim=1)).reshape(x.shape)


class Down(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x, embedding):
        return self.op(x)


class Up(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, embedding):
        return self.conv(F.interpolate(x, scale_factor=2))


class Stem(nn.Conv2d):
    def forward(self, x, embedding):
        return super().forward(x)


class ADM(nn.Module):
    """``attention`` lists the levels that attend, each in `heads` heads, or in heads of `head` channels where that is None;
    ``outputs`` is 6 where the variance is learned."""

    def __init__(
        self, channels=(64, 128), *, blocks=1, attention=(1,), head=64, heads=None, order="legacy", modulate=True, resnet=True,
        outputs=6,
    ):  # fmt: skip
        super().__init__()

        def attend(wide):
            return Attention(wide, wide // heads if heads else head, order)

        width, time = channels[0], 4 * channels[0]
        self.width = width
        self.time_embed = nn.Sequential(nn.Linear(width, time), nn.SiLU(), nn.Linear(time, time))
        self.input_blocks, self.output_blocks = nn.ModuleList([nn.ModuleList([Stem(3, width, 3, padding=1)])]), nn.ModuleList()
        left, features = [width], width
        for level, wide in enumerate(channels):
            for _ in range(blocks):
                parts = [Residual(features, wide, time, modulate)]
                parts += [attend(wide)] if level in attention else []
                features = wide
                self.input_blocks.append(nn.ModuleList(parts))
                left.append(features)
            if level + 1 < len(channels):
                part = Residual(features, features, time, modulate, "down") if resnet else Down(features)
                self.input_blocks.append(nn.ModuleList([part]))
                left.append(features)
        self.middle_block = nn.ModuleList(
            [
                Residual(features, features, time, modulate),
                attend(features),
                Residual(features, features, time, modulate),
            ]
        )
        for level, wide in reversed(list(enumerate(channels))):
            for i in range(blocks + 1):
                parts = [Residual(features + left.pop(), wide, time, modulate)]
                parts += [attend(wide)] if level in attention else []
                features = wide
                if level and i == blocks:
                    parts.append(Residual(features, features, time, modulate, "up") if resnet else Up(features))
                self.output_blocks.append(nn.ModuleList(parts))
        self.out = nn.Sequential(norm(features), nn.SiLU(), nn.Conv2d(features, outputs, 3, padding=1))

    def forward(self, x, t):
        half = self.width // 2
        angles = t[:, None] * torch.exp(-math.log(10_000) * torch.arange(half) / half)
        embedding = self.time_embed(torch.cat([angles.cos(), angles.sin()], dim=1))

        def through(parts, x):
            for part in parts:
                x = part(x, embedding)
            return x

        left = []
        for parts in self.input_blocks:
            x = through(parts, x)
            left.append(x)
        x = through(self.middle_block, x)
        for parts in self.output_blocks:
            x = through(parts, torch.cat([x, left.pop()], dim=1))
        return self.out(x)
