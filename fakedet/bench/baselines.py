"""The baselines of `python -m fakedet bench`, implemented in the usual way.

* EfficientNet-B0 at 224 pixels in eager PyTorch with Grad-CAM by hooks and a backward pass, one file at a time.
* A transformers image-classification pipeline with a ViT-B/16 or a Swin-B, the architectures of popular detectors on
  the Hub. Their weights are random, which changes no speed and needs no download.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

SIDE = 224


class HookedGradCam:
    """A network with one logit, with Grad-CAM by hooks.

    Args:
        model: Maps (N, 3, S, S) to logits (N, 1) or (N,); by default an EfficientNet-B0.
        layer: The layer of the feature map; by default the last normalisation of EfficientNet-B0.
    """

    def __init__(self, model: torch.nn.Module | None = None, layer: torch.nn.Module | None = None):
        if model is None:
            import timm

            model = timm.create_model("efficientnet_b0", pretrained=False, num_classes=1)
        self.model = model.eval()
        self.features = self.gradients = None
        layer = self.model.bn2 if layer is None else layer
        layer.register_forward_hook(self._keep)

    def _keep(self, module, inputs, output: torch.Tensor) -> None:
        self.features = output
        if output.requires_grad:
            output.register_hook(lambda gradient: setattr(self, "gradients", gradient))

    @torch.no_grad()
    def forward(self, pixels: torch.Tensor) -> float:
        """Raw logit of the first view, for pixels (N, 3, S, S)."""
        return self.model(pixels).flatten()[0].item()

    def grad_cam(self, pixels: torch.Tensor) -> tuple[float, np.ndarray]:
        """P(fake) and map (h, w), both 0..1, of the first view, for pixels (N, 3, S, S)."""
        self.model.zero_grad()
        logit = self.model(pixels).flatten()
        logit.sum().backward()
        weights = self.gradients.mean((2, 3), keepdim=True)
        cam = torch.relu((weights * self.features).sum(1))[0].detach()
        return torch.sigmoid(logit[0]).item(), (cam / (cam.max() + 1e-8)).numpy()

    def score_file(self, path: str, heatmap: bool) -> tuple[float, Image.Image | None]:
        """Score and overlay of a file, which is decoded and resized to a square of 224 pixels."""
        image = Image.open(path).convert("RGB")
        pixels = np.asarray(image.resize((SIDE, SIDE)), np.float32) / 255
        pixels = (pixels - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
        tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        if not heatmap:
            return self.forward(tensor), None
        score, cam = self.grad_cam(tensor)
        cam = np.asarray(Image.fromarray(cam).resize(image.size, Image.Resampling.BILINEAR))
        color = np.stack([cam, 1 - np.abs(2 * cam - 1), 1 - cam], -1) * 255
        return score, Image.fromarray((0.6 * np.asarray(image) + 0.4 * color).clip(0, 255).astype(np.uint8))


def pipelines() -> dict[str, Callable]:
    """{name: classifier of a path}, for ViT-B/16 and Swin-B."""
    import transformers as tf

    sizes = {"image_size": SIDE, "num_labels": 2}
    swin = tf.SwinConfig(embed_dim=128, depths=[2, 2, 18, 2], num_heads=[4, 8, 16, 32], window_size=7, **sizes)
    models = {
        "ViT-B/16 pipeline": tf.ViTForImageClassification(tf.ViTConfig(**sizes)),
        "Swin-B pipeline": tf.SwinForImageClassification(swin),
    }
    processor = tf.ViTImageProcessor(size={"height": SIDE, "width": SIDE})
    return {
        name: tf.pipeline("image-classification", model=model.eval(), image_processor=processor, device="cpu")
        for name, model in models.items()
    }
