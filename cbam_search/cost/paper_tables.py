"""The ImageNet results that the CBAM paper publishes (Woo et al., arXiv 1807.06521, tables 4 and 5): 224x224, 1000 classes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperRow:
    """params_m: millions of parameters. gflops: 1e9 multiply-adds. top1_error, top5_error: percent of the validation images."""

    model: str
    params_m: float
    gflops: float
    top1_error: float
    top5_error: float


PAPER_ROWS = (
    PaperRow("resnet18", 11.69, 1.814, 29.6, 10.55),
    PaperRow("resnet18+se", 11.78, 1.814, 29.41, 10.22),
    PaperRow("resnet18+cbam", 11.78, 1.815, 29.27, 10.09),
    PaperRow("resnet34", 21.8, 3.664, 26.69, 8.6),
    PaperRow("resnet34+se", 21.96, 3.664, 26.13, 8.35),
    PaperRow("resnet34+cbam", 21.96, 3.665, 25.99, 8.24),
    PaperRow("resnet50", 25.56, 3.858, 24.56, 7.5),
    PaperRow("resnet50+se", 28.09, 3.86, 23.14, 6.7),
    PaperRow("resnet50+cbam", 28.09, 3.864, 22.66, 6.31),
    PaperRow("resnet101", 44.55, 7.57, 23.38, 6.88),
    PaperRow("resnet101+se", 49.33, 7.575, 22.35, 6.19),
    PaperRow("resnet101+cbam", 49.33, 7.581, 21.51, 5.69),
    PaperRow("wide_resnet18_1.5", 25.88, 3.866, 26.85, 8.88),
    PaperRow("wide_resnet18_1.5+se", 26.07, 3.867, 26.21, 8.47),
    PaperRow("wide_resnet18_1.5+cbam", 26.08, 3.868, 26.1, 8.43),
    PaperRow("wide_resnet18_2.0", 45.62, 6.696, 25.63, 8.2),
    PaperRow("wide_resnet18_2.0+se", 45.97, 6.696, 24.93, 7.65),
    PaperRow("wide_resnet18_2.0+cbam", 45.97, 6.697, 24.84, 7.63),
    PaperRow("resnext50_32x4d", 25.03, 3.768, 22.85, 6.48),
    PaperRow("resnext50_32x4d+se", 27.56, 3.771, 21.91, 6.04),
    PaperRow("resnext50_32x4d+cbam", 27.56, 3.774, 21.92, 5.91),
    PaperRow("resnext101_32x4d", 44.18, 7.508, 21.54, 5.75),
    PaperRow("resnext101_32x4d+se", 48.96, 7.512, 21.17, 5.66),
    PaperRow("resnext101_32x4d+cbam", 48.96, 7.519, 21.07, 5.59),
    PaperRow("mobilenet_0.7", 2.3, 0.283, 34.86, 13.69),
    PaperRow("mobilenet_0.7+se", 2.71, 0.283, 32.5, 12.49),
    PaperRow("mobilenet_0.7+cbam", 2.71, 0.289, 31.51, 11.48),
    PaperRow("mobilenet_1.0", 4.23, 0.569, 31.39, 11.51),
    PaperRow("mobilenet_1.0+se", 5.07, 0.57, 29.97, 10.63),
    PaperRow("mobilenet_1.0+cbam", 5.07, 0.576, 29.01, 9.99),
)
