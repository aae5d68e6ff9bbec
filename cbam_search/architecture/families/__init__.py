"""One file a family of backbones; importing this package registers them all."""

from cbam_search.architecture.families import cifar_resnet, mobilenet, resnet, resnext

__all__ = ["cifar_resnet", "mobilenet", "resnet", "resnext"]
