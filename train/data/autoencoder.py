"""A tiny latent autoencoder; its reconstructions of photographs serve as aligned fakes (see reconstruct.py).

The layers are those of TAEF2 (madebyollin/taesd, MIT), a small replacement for the autoencoder of FLUX.2; its weights
are two safetensors files. Only training data is made with it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn


class Block(nn.Module):
    """ReLU(convolutions + skip); at the lowest resolution a globally normalised branch is added first."""

    def __init__(self, width: int = 64, pool: bool = False):
        super().__init__()
        convs = [nn.Conv2d(width, width, 3, padding=1) for _ in range(3)]
        self.conv = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2])
        self.pool = None
        if pool:
            wide = 4 * width
            self.pool = nn.Sequential(
                nn.Conv2d(width, wide, 1, bias=False), nn.GroupNorm(4, wide), nn.ReLU(),
                nn.Conv2d(wide, width, 1, bias=False),
            )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


class Clamp(nn.Module):
    """Soft limit of the latent to -3..3."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x / 3) * 3


def encoder() -> nn.Sequential:
    """RGB (N, 3, H, W) in 0..1, sides a multiple of 8, to a latent (N, 32, H / 8, W / 8)."""
    layers = [nn.Conv2d(3, 64, 3, padding=1), Block()]
    for step in range(3):
        layers += [nn.Conv2d(64, 64, 3, padding=1, stride=2, bias=False), *(Block(pool=step == 2) for _ in range(3))]
    return nn.Sequential(*layers, nn.Conv2d(64, 32, 3, padding=1))


def decoder() -> nn.Sequential:
    """A latent (N, 32, h, w) to RGB (N, 3, 8 h, 8 w), about 0..1."""
    layers = [Clamp(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU()]
    for step in range(3):
        layers += [*(Block(pool=step == 0) for _ in range(3)), nn.Upsample(scale_factor=2),
                   nn.Conv2d(64, 64, 3, padding=1, bias=False)]  # fmt: skip
    return nn.Sequential(*layers, Block(), nn.Conv2d(64, 3, 3, padding=1))


class TinyAutoencoder(nn.Module):
    """Encoder and decoder in eval mode.

    Args:
        encoder_weights, decoder_weights: safetensors files in TAEF2's names.

    Raises:
        RuntimeError: The weights do not fit.
    """

    def __init__(self, encoder_weights: str | Path, decoder_weights: str | Path):
        super().__init__()
        self.encoder, self.decoder = encoder(), decoder()
        for part, path in ((self.encoder, encoder_weights), (self.decoder, decoder_weights)):
            part.load_state_dict({key: value.float() for key, value in load_file(path).items()})
        self.eval().to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The reconstruction of RGB (N, 3, H, W) in 0..1, again in 0..1."""
        return self.decoder(self.encoder(pixels.contiguous(memory_format=torch.channels_last))).clamp(0, 1)
