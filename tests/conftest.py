"""What every test may lean on: repeatable properties, and real data that is either found or loudly missed."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
MISSING_DATA = "missing data: "

# No deadlines: a slow machine is no fault. `ci` draws the same examples on every run, so a red run can be
# repeated; HYPOTHESIS_PROFILE=deep searches anew each time, and keeps what it found in .hypothesis.
settings.register_profile("ci", derandomize=True, database=None, deadline=None)
settings.register_profile("deep", max_examples=5_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Return the path of a real data file, named relative to `../shared/data`; skip the test without it."""

    def find(name: str) -> Path:
        path = SHARED_DATA / name
        if not path.exists():
            pytest.skip(f"{MISSING_DATA}{name}, expected at {path}")
        return path

    return find


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Run a server that speaks S3's protocol, in this process, and give its address."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - slow to import, and few tests have need of it

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_lake(s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Give `s3://BUCKET/lake` in a new bucket, with all that boto3 and the cache ask the environment for."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    given = {
        "AWS_ENDPOINT_URL_S3": s3_server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "QUORUM_CACHE_DIR": str(tmp_path / "cache"),
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    bucket = f"test-{secrets.token_hex(4)}"
    s3_client(s3_server).create_bucket(Bucket=bucket)
    return f"s3://{bucket}/lake"


def s3_client(url: str, **options: Any) -> Any:
    """Give a plain client, for what a test does or looks at behind a store's back."""
    from boto3.session import Session  # noqa: PLC0415 - as above

    session = Session("test", "not-a-secret", region_name="us-east-1")
    return session.client("s3", endpoint_url=url, **options)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests lacked their data, so that a green run without it does not pass for a full one."""
    reports = terminalreporter.getreports("skipped")
    reasons = [report.longrepr[2] for report in reports if isinstance(report.longrepr, tuple)]
    missed = [reason for reason in reasons if MISSING_DATA in reason]
    if missed:
        terminalreporter.section("real data")
        terminalreporter.write_line(f"tests skipped for missing data: {len(missed)}; not under {SHARED_DATA}:")
        for name in sorted({reason.partition(MISSING_DATA)[2].partition(",")[0] for reason in missed}):
            terminalreporter.write_line(f"  {name}")
