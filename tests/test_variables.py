"""`${NAME}` in settings."""

from __future__ import annotations

import pytest

from cbam_search.errors import UserError
from cbam_search.variables import required, with_known_variables, with_variables


def test_set_variables_are_replaced_and_others_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "a${THERE}\\1")
    monkeypatch.delenv("THERE", raising=False)
    assert with_known_variables("x/${HERE}/${THERE}/$HERE/${1}") == "x/a${THERE}\\1/${THERE}/$HERE/${1}"


def test_all_must_be_set_where_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "a")
    monkeypatch.delenv("THERE", raising=False)
    assert with_variables("${HERE}${HERE}b", "tracking.uri") == "aab"
    with pytest.raises(UserError, match=r"tracking\.uri needs the environment variable THERE, which is not set"):
        with_variables("${HERE}${THERE}", "tracking.uri")
    with pytest.raises(UserError, match=r"records\.storage needs the environment variable THERE"):
        required("THERE", "records.storage")
