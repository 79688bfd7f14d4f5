from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


def test_absent_data_skips_and_says_what_was_expected_where(shared_data: Callable[[str], Path]) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"^missing data: no/such\.csv, expected at .*no/such\.csv$"):
        shared_data("no/such.csv")


def test_present_data_is_found(shared_data: Callable[[str], Path]) -> None:
    assert shared_data("README.md").is_file()
