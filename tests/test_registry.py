from __future__ import annotations

import pytest

from cbam_search.architecture import ATTENTION_KINDS
from cbam_search.attention.registry import ATTENTION_MODULES
from cbam_search.errors import UnknownNameError, UserError
from cbam_search.registry import Registry


@pytest.fixture
def registry() -> Registry[int]:
    registry: Registry[int] = Registry("attention kind")
    registry.register("cbam", 1)
    registry.register("se", 2)
    return registry


def test_holds_what_was_registered(registry):
    assert registry["se"] == 2
    assert "se" in registry
    assert "bam" not in registry
    assert tuple(registry) == registry.names() == ("cbam", "se")


def test_refuses_duplicates(registry):
    with pytest.raises(ValueError, match="attention kind 'se' is registered already"):
        registry.register("se", 3)
    assert registry["se"] == 2


@pytest.mark.parametrize("kind", ATTENTION_KINDS)
def test_no_kind_and_no_module_is_registered_twice(kind):
    for registry in (ATTENTION_KINDS, ATTENTION_MODULES):
        before = registry[kind]
        with pytest.raises(ValueError, match=f"'{kind}' is registered already"):
            registry.register(kind, before)
        assert registry[kind] is before
        with pytest.raises(UnknownNameError, match=f"'{kind}x'.* Valid: .*{kind}"):
            registry[f"{kind}x"]


def test_a_wrong_name_is_answered_with_the_nearest_and_all_valid_ones(registry):
    with pytest.raises(UnknownNameError) as error:
        registry["CBMA"]
    assert str(error.value) == "unknown attention kind 'CBMA'. Did you mean 'cbam'? Valid: cbam, se"
    assert isinstance(error.value, UserError)
