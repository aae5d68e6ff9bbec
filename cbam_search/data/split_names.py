"""What splits are called: names that are understood, and others that look like a split's: `training_set`, `eval`, `Prueba`."""

from __future__ import annotations

import re
from collections.abc import Sequence

SPLIT_NAMES: dict[str, str] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Names that are understood, in lower case."""

_WORDS = {
    "train": "train training trn trainset entrenamiento treino trening apprentissage entrainement addestramento 训练 训练集",
    "validation": "validation valid val dev eval evaluation validierung validacion validacao validazione 验证 验证集",
    "test": "test testing tst testset holdout prueba pruebas teste tests essai 测试 测试集",
}
_MEANING = {word: meaning for meaning, words in _WORDS.items() for word in words.split()}


def split_meaning(name: str) -> str | None:
    """`train`, `validation` or `test` where a word of the name means it: `seg_train`, `TestSet`, `training images`."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+|[^\W\d_A-Za-z]+", name)
    meanings = {_MEANING[word.lower()] for word in (*words, name) if word.lower() in _MEANING}
    return meanings.pop() if len(meanings) == 1 else None


def looks_like_splits(names: Sequence[str]) -> bool:
    """Whether all names mean a split, two different ones at least: then they are no classes."""
    meanings = [split_meaning(name) for name in names]
    return len(set(meanings)) > 1 and None not in meanings
