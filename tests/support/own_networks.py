"""Networks that a user might bring, as the text of `net.py`; every function builds one that is wrong or odd in one way."""

from __future__ import annotations

from pathlib import Path

from cbam_search.architecture import OwnBackbone
from cbam_search.backbones.tracing import trace

NETWORKS = '''
import torch
from torch import nn

def layer(inputs, outputs, stride=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

class Net(nn.Module):
    def __init__(self, in_channels=1, classes=10, width=1.0, stride=2):
        super().__init__()
        channels = int(8 * width)
        self.stem = layer(in_channels, channels)
        self.layer1 = nn.Sequential(layer(channels, channels), layer(channels, 2 * channels, stride))
        self.layer2 = layer(2 * channels, 4 * channels, stride)
        self.unused = nn.Conv2d(3, 3, 1)
        self.head = nn.Linear(4 * channels, classes)

    def forward(self, x):
        return self.head(self.layer2(self.layer1(self.stem(x))).mean((2, 3)))

def net(width: float = 1.0, stride: int = 2, *, in_channels: int, classes: int):
    return Net(in_channels, classes, width, stride)

def any_arguments(**arguments):
    return Net(**arguments)

def ten_classes(in_channels):
    return Net(in_channels, 10)

def no_channels(classes):
    return Net(3, classes)

def needs_more(depth, in_channels, classes):
    return Net(in_channels, classes)

def raises(classes):
    raise RuntimeError("no such file: weights.bin")

def leaves(classes):
    raise SystemExit(3)

def no_module(classes):
    return [1, 2]

class Twice(Net):
    def forward(self, x):
        return self.head(self.layer2(self.layer1(self.stem(self.stem(x)[:, :1]))).mean((2, 3)))

class Sequence(Net):
    def forward(self, x):
        x = self.layer2(self.layer1(self.stem(x))).flatten(2)
        return self.head(nn.functional.relu(x).mean(2))

class Lists(Net):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.pair = Pair()
        self.flat = nn.Flatten(2)

    def forward(self, x):
        a, b = self.pair(self.layer2(self.layer1(self.stem(x))))
        return self.head(self.flat(a + b).mean(2))

class Pair(nn.Module):
    def forward(self, x):
        return x, x

class Shared(Net):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.again = self.layer1

class Tied(Net):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.other = nn.Linear(32, 10)
        self.other.weight = self.head.weight

class Lazy(Net):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.head = nn.LazyLinear(10)

class Reads(Net):
    def forward(self, x):
        channels = self.layer1[1][0].out_channels
        return super().forward(x) * (channels / channels)

class PassesBy(Net):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.order = [[self.stem, self.layer1, self.layer2]]

    def forward(self, x):
        for module in self.order[0]:
            x = module(x)
        return self.head(x.mean((2, 3)))

class Auxiliary(Net):
    def forward(self, x):
        logits = super().forward(x)
        return (logits, logits) if self.training else logits

class Branches(Net):
    """Operators that are counted under other names, blocks as a list, attention inside and around."""

    def __init__(self, in_channels=1, classes=10, width=1.0):
        super().__init__(in_channels, classes, width)
        channels = int(32 * width)
        self.blocks = nn.ModuleList([nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 3, padding=1, groups=2)])
        self.norm = nn.GroupNorm(2, channels)

    def forward(self, x):
        x = self.layer2(self.layer1(self.stem(x)))
        for block in self.blocks:
            x = x + nn.functional.gelu(block(x))
        return self.head(torch.nn.functional.adaptive_avg_pool2d(self.norm(x), 1).flatten(1))

_kept = []

def kept(in_channels, classes):
    _kept.append(Net(in_channels, classes))
    return _kept[0]
'''


def write_networks(folder: Path) -> Path:
    """`net.py` in `folder`."""
    path = folder / "net.py"
    path.write_text(NETWORKS, encoding="utf-8")
    return path


def traced(
    folder: Path, function: str = "net", sites: tuple[str, ...] = ("layer1",), **arguments: bool | int | float | str
) -> OwnBackbone:
    """The backbone of a function in `folder`/net.py, for grey images of 16 x 12 in 10 classes."""
    options = {"in_channels": 1, "classes": 10, "image_size": (16, 12), "folder": folder}
    return trace(f"net:{function}", sites, arguments, **options)  # type: ignore[arg-type]
