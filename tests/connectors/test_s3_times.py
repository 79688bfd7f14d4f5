"""Times in S3's answers: read as botocore reads them, whatever their form."""

from __future__ import annotations

import pytest
from botocore.utils import parse_timestamp

from connectors.s3 import _time


@pytest.mark.parametrize(
    "told",
    [
        "2026-01-02T03:04:05.000Z",
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05+01:00",
        "Thu, 01 Jan 2026 00:00:00 GMT",
        "1767323045",
        1767323045,
        1767323045.5,
        "20260102T030405Z",
    ],
)
def test_a_time_is_read_as_botocore_reads_it(told: object) -> None:
    found = _time(told)
    assert found == parse_timestamp(told)
    assert found.tzinfo is not None or parse_timestamp(told).tzinfo is None


def test_what_is_no_time_is_refused() -> None:
    for told in ("noT", "noZ", "none"):
        with pytest.raises(ValueError, match=told):
            _time(told)
