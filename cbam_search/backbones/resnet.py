"""A ResNet of given blocks (He et al., arXiv 1512.03385), with torchvision's names: conv1, bn1, layer1 and on, fc."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from cbam_search.backbones.blocks import convolution


class ResNet(nn.Module):
    """Images x: (N, in_channels, H, W) of any H and W to logits: (N, classes).

    stem: `imagenet` (7x7 convolution of stride 2, 3x3 max pooling of stride 2) or `cifar` (3x3 convolution of stride 1).
    stages: the blocks of each stage, in order. features: channels that leave the last block. The linear layer starts as
    PyTorch's default.
    """

    def __init__(
        self,
        *,
        stem: str,
        in_channels: int,
        stem_channels: int,
        stages: Sequence[Sequence[nn.Module]],
        features: int,
        classes: int,
    ) -> None:
        super().__init__()
        is_imagenet = stem == "imagenet"
        self.conv1 = convolution(in_channels, stem_channels, 7 if is_imagenet else 3, stride=2 if is_imagenet else 1)
        self.bn1 = nn.BatchNorm2d(stem_channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if is_imagenet else nn.Identity()
        self.layer_names = tuple(f"layer{number}" for number in range(1, len(stages) + 1))
        for name, blocks in zip(self.layer_names, stages, strict=True):
            self.add_module(name, nn.Sequential(*blocks))
        self.fc = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)))

    def stem(self, x: Tensor) -> Tensor:
        """x: (N, in_channels, H, W) to (N, stem_channels, H / 4, W / 4), or the same H and W for `cifar`."""
        features: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return features

    def body(self, x: Tensor) -> Tensor:
        """All stages. x: (N, stem_channels, H, W) to (N, features, H', W')."""
        for name in self.layer_names:
            x = self.get_submodule(name)(x)
        return x

    def head(self, x: Tensor) -> Tensor:
        """Global average pooling and the linear layer. x: (N, features, H, W) to (N, classes)."""
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits
