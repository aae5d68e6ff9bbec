"""Proof that an exported folder needs torch only and computes what the original does, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from cbam_search.errors import ExportError

TOLERANCE = 1e-4
"""Largest difference of two logits, relative to the largest one.

Processors and memory layouts add up in other orders. In float32 (precision 1e-7) that comes to some 1e-6 after a hundred
layers; an export that is wrong differs by far more.
"""
SMALLEST_SCALE = 0.01
"""Where all logits are smaller, differences are relative to this: then they are what is left of larger numbers."""

CHECK = """
import builtins
import sys
import torch

def require_torch_only(name):
    root = name.partition(".")[0]
    if root not in sys.stdlib_module_names and root not in {"torch", "model"}:
        raise ImportError(f"{root} is neither torch nor of the standard library")

class TorchOnly:
    def find_spec(self, name, path=None, target=None):
        require_torch_only(name)

plain_import = builtins.__import__

def import_for_the_folder(name, globals=None, locals=None, fromlist=(), level=0):
    # What torch has imported for itself, such as numpy, is found without a finder.
    if (globals or {}).get("__file__", "").startswith(sys.argv[1]):
        require_torch_only(name or "a neighbouring file")
    return plain_import(name, globals, locals, fromlist, level)

builtins.__import__ = import_for_the_folder
sys.meta_path.insert(0, TorchOnly())
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import model

torch.set_num_threads(int(sys.argv[3]))  # other numbers of threads add up in another order
saved = model.read_safetensors(sys.argv[2])
network = model.load()
with torch.inference_mode():
    difference = (network(saved["images"]) - saved["logits"]).abs().max().item()
predictions = model.predict(network, torch.zeros(2, *saved["images"].shape[1:], dtype=torch.uint8))
assert len(predictions) == 2, predictions
assert "cbam_search" not in sys.modules
print(difference)
"""


def verify(folder: Path, network: nn.Module, image_shape: tuple[int, int, int]) -> float:
    """Compare the logits of `network`, in eval mode, and of the module in `folder`, on random images.

    image_shape: (C, H, W). Returns the largest difference, relative to the largest logit or to SMALLEST_SCALE. Raises
    ExportError when the module does not run on torch alone, or differs by more than TOLERANCE.
    """
    images = torch.randn(2, *image_shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = network(images)
    with tempfile.TemporaryDirectory() as scratch:
        batch = Path(scratch) / "batch.safetensors"
        save_file({"images": images, "logits": logits.contiguous()}, batch)
        command = [sys.executable, "-I", "-c", CHECK, str(folder), str(batch), str(torch.get_num_threads())]
        finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        last_line = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise ExportError(f"the exported module does not run by itself: {last_line}. Nothing was written")
    difference, largest = float(finished.stdout.split()[-1]), float(logits.abs().max())
    relative = difference / max(largest, SMALLEST_SCALE)
    if not relative <= TOLERANCE:
        raise ExportError(
            f"the exported module's logits differ by {difference:.3g} from the network's, whose largest is {largest:.3g}. "
            f"Nothing was written"
        )
    return relative
