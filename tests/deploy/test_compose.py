"""The composition: what runs is pinned, watched and kept, and its parts fit one another."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.live import ROLES
from streams.metrics import REGISTRY

ROOT = Path(__file__).parents[2]
WORKERS = frozenset(ROLES) | {"archiver"}


@pytest.fixture(scope="module")
def composition() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return found


def test_docker_compose_takes_it() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker Compose: `docker compose config` was not asked about docker-compose.yml")
    checked = subprocess.run(
        [docker, "compose", "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_every_service_is_watched_restarted_and_pinned(composition: dict[str, Any]) -> None:
    for name, service in composition["services"].items():
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped", name
        assert "build" in service or re.fullmatch(r"[a-z/]+:v?\d+(?:[.]\d+)+", service["image"]), name


def test_every_role_has_a_worker(composition: dict[str, Any]) -> None:
    commands = {name: service["command"] for name, service in composition["services"].items() if "build" in service}
    assert {name: command[:2] for name, command in commands.items()} == {name: ["worker", name] for name in WORKERS}


def test_nothing_is_published_beyond_this_machine(composition: dict[str, Any]) -> None:
    ports = [port for service in composition["services"].values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_every_volume_is_declared_and_every_file_is_there(composition: dict[str, Any]) -> None:
    mounts = [mount for service in composition["services"].values() for mount in service.get("volumes", [])]
    named = {mount.split(":")[0] for mount in mounts if mount[0].isalpha()}
    assert named == composition["volumes"].keys()
    assert [mount for mount in mounts if mount.startswith("./") and not (ROOT / mount.split(":")[0]).exists()] == []


def test_the_same_kafka_runs_with_docker_and_without(composition: dict[str, Any]) -> None:
    version = composition["services"]["kafka"]["image"].partition(":")[2]
    jars = (ROOT / "deploy/kafka/jars.sha256").read_text("utf-8")
    assert f"kafka_2.13-{version}.jar" in jars
    assert f"<version>{version}</version>" in (ROOT / "deploy/kafka/pom.xml").read_text("utf-8")


def test_prometheus_asks_every_worker_where_it_answers(composition: dict[str, Any]) -> None:
    settings = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    targets = settings["scrape_configs"][0]["static_configs"][0]["targets"]
    assert set(targets) == {f"{name}:9100" for name in WORKERS}
    for name in WORKERS:
        assert composition["services"][name]["command"][-1] == "9100"


def test_the_dashboard_shows_what_the_workers_measure() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/quorum.json").read_text("utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for query in queries for name in re.findall(r"quorum_\w+", query)}
    measured = {family.name for family in REGISTRY.collect()}
    assert len(asked) > 10
    assert [name for name in sorted(asked) if re.sub(r"_(total|bucket)$", "", name) not in measured] == []


def test_the_image_gets_every_package() -> None:
    wanted = (ROOT / ".dockerignore").read_text("utf-8").split()
    packages = {init.parent.name for init in ROOT.glob("[a-z]*/__init__.py")}
    assert {f"!{name}" for name in packages} <= set(wanted)
