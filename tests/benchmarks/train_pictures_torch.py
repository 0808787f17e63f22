"""The recipe of ``code-jax train`` in PyTorch, for CPUs, whose convolutions are faster there; same pictures, same loss.

    python -m tests.benchmarks.train_pictures_torch --data portraits.zip:0.5:margin=6 \
        --data photos.zip:0.5:patches=1*0.4,2*0.35,4*0.25 --out DIR [--config pictures] [--seconds 9000]     (extra `parity`)

DIR/state.pt (weights, moving average, optimizer, steps) is written every --every seconds and gone on from; DIR/prior is the
moving average as `load_prior` reads it; DIR/losses.csv has a row each time. Works at the lowest priority, in bfloat16 where the
processor has it (amx_bf16), in a process of one thread for each core, for threads of one operation wait for each other. Not
compiled: PyTorch 2.13 gave this network wrong gradients then, in bfloat16.

Batches are those of ``code-jax train`` with the same seed; noise, timesteps and flips are PyTorch's, the same for any number of
processes, and Muon's momentum is a sum instead of a bias-corrected mean.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that sleep where they wait
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
import torch.distributed as dist
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention, AttnProcessor

from checkpoints_convert.contents import Contents
from code_jax.priors.load import load_prior
from code_jax.priors.read import to_prior
from code_jax.priors.weights import to_state_dict
from code_jax.training.recipe import Recipe, find_recipe, override
from code_jax.training.sources import Dataset, parse_source
from code_jax.training.write import write_prior

SCHEDULER = {
    "_class_name": "DDPMScheduler",
    "num_train_timesteps": 1000,
    "beta_schedule": "linear",
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "prediction_type": "v_prediction",
}


def alpha_bars() -> torch.Tensor:
    """ᾱ_t of DDPM's linear betas, float32 [1000]."""
    return torch.tensor(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), dtype=torch.float32)


def v_losses(network: torch.nn.Module, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """The squared error of v of each picture, [B]; x0, noise [B, C, H, W], ᾱ [B], t [B] as the network takes it."""
    signal, rest = (part.sqrt()[:, None, None, None] for part in (a, 1 - a))
    x = (signal * x0 + rest * noise).contiguous(memory_format=torch.channels_last)
    return ((network(x, t).sample.float() - (signal * noise - rest * x0)) ** 2).mean((1, 2, 3))


def place() -> tuple[int, int]:
    """Which process this is, of how many."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def add_up(tensors: Sequence[torch.Tensor]) -> None:
    """Each becomes its sum over the processes, all in one message."""
    if dist.is_initialized():
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))


class Muon:
    """Muon (Jordan et al. 2024) with updates of AdamW's size (Liu et al. 2025, arXiv 2502.16982, equation 4)."""

    def __init__(self, weights: dict[str, torch.nn.Parameter], decay: float, momentum: float = 0.95) -> None:
        self.weights, self.decay, self.momentum = weights, decay, momentum
        self.sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        mine, processes = place()
        updates = {name: torch.zeros_like(weight) for name, weight in self.weights.items()}
        for number, (name, weight) in enumerate(self.weights.items()):
            total = self.sums[name].mul_(self.momentum).add_(weight.grad)
            if number % processes == mine:
                direction = weight.grad.add(total, alpha=self.momentum).reshape(len(weight), -1)
                updates[name].copy_(0.2 * max(direction.shape) ** 0.5 * orthogonal(direction).reshape(weight.shape))
        if updates:
            add_up(list(updates.values()))
        for name, weight in self.weights.items():
            weight.mul_(1 - rate * self.decay).add_(updates[name], alpha=-rate)
            weight.grad = None


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Nearly U Vᵀ of the matrix U S Vᵀ, by five Newton-Schulz steps."""
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T) / (matrix.norm() + 1e-8)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x if wide else x.T


class Training:
    """Network, moving average and optimizers, as `folder` has them."""

    def __init__(self, folder: Path, config: dict[str, object], recipe: Recipe) -> None:
        self.folder, self.recipe, self.step, self.alpha_bar = folder, recipe, 0, alpha_bars()
        self.network = UNet2DModel.from_config(config).to(memory_format=torch.channels_last).train()
        for module in self.network.modules():
            if isinstance(module, Attention):
                module.set_processor(AttnProcessor())  # over a few hundred pixels faster than the fused kernel
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        named = dict(self.network.named_parameters())
        hidden = {n: w for n, w in named.items() if w.ndim >= 2 and not n.startswith(("conv_in", "conv_out"))}
        self.muon = Muon(hidden if recipe.optimizer == "muon" else {}, recipe.weight_decay)
        rest = [weight for name, weight in named.items() if name not in self.muon.weights]
        self.adam = torch.optim.AdamW(rest, betas=(0.9, 0.99), weight_decay=recipe.weight_decay, fused=True)
        if (folder / "state.pt").is_file():
            state = torch.load(folder / "state.pt", weights_only=True)
            self.network.load_state_dict(state["network"])
            self.adam.load_state_dict(state["adam"])
            self.average, self.muon.sums, self.step = state["average"], state["muon"], state["step"]

    def rate(self) -> float:
        """The learning rate of this step: warm-up, held, then linear to zero."""
        recipe = self.recipe
        left = (recipe.steps - self.step) / max(recipe.steps * (1 - recipe.hold), 1)
        return recipe.learning_rate * min(1.0, (self.step + 1) / max(recipe.warmup, 1), left)

    def advance(self, x0: torch.Tensor, bfloat16: bool) -> float:
        """One step on pictures [B, 3, H, W] in [−1, 1], of which each process takes its share; returns their mean loss."""
        x0 = torch.where((torch.rand(len(x0)) < 0.5)[:, None, None, None], x0.flip(3), x0)
        lower = torch.rand(len(x0)) < self.recipe.lower_half
        t = torch.where(lower, 0, 500) + torch.randint(0, 500, (len(x0),))
        noise, mine = torch.randn(x0.shape), slice(place()[0], None, place()[1])
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            losses = v_losses(self.network, x0[mine], noise[mine], t[mine], self.alpha_bar[t[mine]])
        loss = losses.sum() / len(x0)
        loss.backward()
        loss = loss.detach()
        add_up([loss, *(weight.grad for weight in self.network.parameters())])
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_norm)
        for group in self.adam.param_groups:
            group["lr"] = self.rate()
        self.muon.step(self.rate())
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        kept = min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1 - kept)
        self.step += 1
        return loss.item()

    def write(self, scales: Sequence[float]) -> None:
        """The state, then the moving average as a prior."""
        state = {"network": self.network.state_dict(), "average": self.average, "step": self.step}
        torch.save(state | {"adam": self.adam.state_dict(), "muon": self.muon.sums}, self.folder / "state.new")
        os.replace(self.folder / "state.new", self.folder / "state.pt")
        weights = {name: value.numpy() for name, value in self.average.items()}
        write_prior(to_prior(Contents(dict(self.network.config), SCHEDULER, lambda: weights)), self.folder / "prior", scales)


def has_bfloat16() -> bool:
    """Whether the processor multiplies matrices of bfloat16; where that is emulated, it is ten times slower than float32."""
    described = Path("/proc/cpuinfo")
    return described.exists() and "amx_bf16" in described.read_text()


def as_torch(pictures: np.ndarray) -> torch.Tensor:
    """Pictures uint8 [B, H, W, C] as float32 [B, C, H, W] in [−1, 1], channels last in memory."""
    return torch.from_numpy(pictures.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, action="append", type=parse_source)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--config", default="pictures")
    parser.add_argument("--init", help="a prior of the same network to start from")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--every", type=float, default=600)
    parser.add_argument("--held-out", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args()
    recipe = find_recipe(args.config)[1]
    kind = recipe.schedule, recipe.prediction_type, recipe.augment, recipe.min_snr_gamma
    if kind != ("linear", "v_prediction", "flips", None) or recipe.hold is None:
        parser.error("only linear betas, v-prediction, flips, the plain loss and a learning rate that is held are here")
    args.out.mkdir(parents=True, exist_ok=True)
    os.nice(19 - os.nice(0))
    if args.processes == 1:
        train(0, args, None)
    else:
        with tempfile.TemporaryDirectory() as folder:
            torch.multiprocessing.spawn(train, (args, f"file://{folder}/meeting"), args.processes)


def train(process: int, args: argparse.Namespace, meeting: str | None) -> None:
    if meeting:
        dist.init_process_group("gloo", meeting, rank=process, world_size=args.processes)
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    network, recipe = find_recipe(args.config)
    recipe = override(recipe, {"steps": args.steps} if args.steps else {})
    training = Training(args.out, network.to_diffusers(), recipe)
    if args.init and not training.step:
        weights = {name: torch.from_numpy(value) for name, value in to_state_dict(load_prior(args.init).params).items()}
        training.network.load_state_dict(weights)
        training.average = {name: value.clone() for name, value in weights.items()}
    data = Dataset(args.data, (*network.sample_size, network.in_channels), args.held_out)
    batches = data.batches(args.seed, recipe.batch_size, training.step)
    bfloat16 = has_bfloat16()
    if process == 0:
        print(f"from step {training.step} to {recipe.steps}, bfloat16 {bfloat16}", flush=True)
    torch.manual_seed(args.seed + training.step)
    begun = written = time.monotonic()
    losses: list[float] = []
    over = training.step >= recipe.steps
    while not over:
        losses.append(training.advance(as_torch(next(batches)), bfloat16))
        clock = torch.tensor([time.monotonic() - begun, time.monotonic() - written])
        add_up([clock])  # that all decide alike
        elapsed, since = (clock / args.processes).tolist()
        over = training.step >= recipe.steps or elapsed > args.seconds
        if over or since > args.every:
            if process == 0:
                training.write(data.scales)
                tell(training, elapsed, len(losses) / since, sum(losses) / len(losses))
            losses, written = [], time.monotonic()


def tell(training: Training, elapsed: float, rate: float, loss: float) -> None:
    """A row of losses.csv and a line: seconds so far, steps a second, mean loss."""
    step, pictures = training.step, training.step * training.recipe.batch_size
    with open(training.folder / "losses.csv", "a", newline="") as file:
        csv.writer(file).writerow([step, pictures, round(elapsed, 1), f"{loss:.6g}"])
    print(f"step {step}, {pictures} pictures, {rate * training.recipe.batch_size:.1f}/s, loss {loss:.6g}", flush=True)


if __name__ == "__main__":
    main()
