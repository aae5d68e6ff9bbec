"""A network of given blocks: stem, stages, pooled head, with torchvision's names of a ResNet: conv1, bn1, layer1, fc."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from cbam_search.backbones.convolution import convolution


class Network(nn.Module):
    """Images x: (N, in_channels, H, W) of any H and W to logits: (N, classes).

    stem: `imagenet` (7x7 convolution of stride 2, 3x3 max pooling of stride 2), `strided` (3x3 of stride 2) or `cifar` (3x3 of
    stride 1). stem_attention: after its batch norm. stages: the blocks of each stage, in order. features: channels that leave
    the last block. The linear layer starts as PyTorch's default.
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
        stem_attention: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = convolution(in_channels, stem_channels, 7 if stem == "imagenet" else 3, stride=1 if stem == "cifar" else 2)
        self.bn1 = nn.BatchNorm2d(stem_channels)
        self.stem_attention = stem_attention or nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if stem == "imagenet" else nn.Identity()
        self.layer_names = tuple(f"layer{number}" for number in range(1, len(stages) + 1))
        for name, blocks in zip(self.layer_names, stages, strict=True):
            self.add_module(name, nn.Sequential(*blocks))
        self.fc = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)))

    def stem(self, x: Tensor) -> Tensor:
        """x: (N, in_channels, H, W) to (N, stem_channels, H', W')."""
        features: Tensor = self.maxpool(self.relu(self.stem_attention(self.bn1(self.conv1(x)))))
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
