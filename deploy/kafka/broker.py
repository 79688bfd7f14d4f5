"""An Apache Kafka broker of one's own, without Docker: jars from Maven, run by the JDK that is here.

`make kafka` runs one until Ctrl-C, with the topics made; tests start, kill and restart theirs. It listens on
127.0.0.1 alone. A jar is used only if it is the very one that `jars.sha256` names.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from string import Template
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.errors import KafkaError, QuorumError
from streams.admin import create_topics
from streams.kafka import Kafka

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".kafka"
JARS = CACHE / "lib"
PORT = 9092
PORTS = (20_000, 32_000)
"""Below those that systems give to outgoing connections, so that a port is still free when its broker is back."""
START_S = 60.0
STOP_S = 30.0
JAVA = ("java", "-Xmx512m", "-XX:+UseSerialGC", "-Djava.awt.headless=true")
BRIEF = "-XX:TieredStopAtLevel=1"
"""Quick to start: the compiler that makes a broker faster later takes its time first."""


class Broker:
    """A broker whose data lie in one folder: started again there, it has kept everything.

    Used in a `with`, it is stopped at the end. `bootstrap` is where it listens, the same after a restart.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
        scram: Mapping[str, str] | None = None,
        brief: bool = True,
    ) -> None:
        """Prepare in `folder`; `port` 0 takes a free one, and one that is not `brief` is fit for a long life.

        `settings` go before those of `server.properties`, and may name `$port` as they do; `scram` are users and their
        passwords, made with the data.
        """
        self.folder = folder
        self.port, self._controller_port = port or free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._settings, self._scram = settings or {}, scram or {}
        self._java = (*JAVA, BRIEF) if brief else JAVA
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def log(self) -> Path:
        """The file with its warnings and errors since it was last started."""
        return self.folder / "broker.log"

    @property
    def pid(self) -> int:
        """The id of its process, 0 if none runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    def start(self) -> None:
        """Start, and wait until it answers. Raises KafkaError where it cannot, or a stranger holds its port."""
        jars = fetch_jars()
        if not is_free(self.port):
            raise KafkaError(f"port {self.port} is taken; stop what listens there (another broker?)")
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self._write_properties()
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(jars, properties)
        command = [*self._java, f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}", "-cp", f"{jars}/*"]
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C reaches whoever started it, who then stops it in order.
            self._process = subprocess.Popen(
                [*command, "kafka.Kafka", str(properties)], stdout=log, stderr=log, start_new_session=True
            )
        try:
            await_answer(self.bootstrap, self._check_alive)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it in order; kill it where that takes too long. Does nothing if none runs."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """End it at once, as a crash would: kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _write_properties(self) -> Path:
        given = (HERE / "server.properties").read_text("utf-8").splitlines()
        lines = [line for line in given if line.partition("=")[0] not in self._settings]
        lines += [f"{name}={value}" for name, value in self._settings.items()]
        places = {"port": self.port, "controller_port": self._controller_port, "data": self.folder / "data"}
        path = self.folder / "server.properties"
        path.touch(mode=0o600)
        path.write_text(Template("\n".join(lines) + "\n").substitute(places), "utf-8")
        return path

    def _format(self, jars: Path, properties: Path) -> None:
        cluster = urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        while cluster.startswith("-"):  # the tool would take it for an option
            cluster = urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        command = [*JAVA, BRIEF, "-cp", f"{jars}/*", "kafka.tools.StorageTool", "format"]
        command += ["--cluster-id", cluster, "--config", str(properties)]
        for user, password in self._scram.items():
            command += ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise KafkaError(f"the broker's data could not be laid out in {self.folder}: {_tail(made.stderr)}")

    def _check_alive(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            said = _tail(self.log.read_text("utf-8", errors="replace"))
            raise KafkaError(f"the broker ended at its start with status {self._process.returncode}: {said}")


def await_answer(bootstrap: str, check_alive: Callable[[], None]) -> None:
    """Wait until a broker answers; `check_alive` raises where it never will. Raises KafkaError after `START_S`."""
    until = time.monotonic() + START_S
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200})
    while time.monotonic() < until:
        check_alive()
        try:
            if admin.list_topics(timeout=0.5).brokers:
                return
        except KafkaException:
            time.sleep(0.05)
    raise KafkaError(f"the broker on {bootstrap} gave no answer within {START_S:g} s")


def what_is_missing() -> str:
    """Say in one sentence what a broker lacks here, or nothing if one can be tried."""
    needed = ["java"] if _digests(JARS) == _wanted() else ["java", "mvn"]
    missing = [name for name in needed if shutil.which(name) is None]
    return f"{' and '.join(missing)} not found; install a JDK (17 or newer) and Maven" if missing else ""


def fetch_jars() -> Path:
    """Give the folder with the broker's jars, fetched by Maven if need be; each is what `jars.sha256` says.

    Raises KafkaError where they cannot be had or differ.
    """
    CACHE.mkdir(exist_ok=True)
    with _alone():
        wanted = _wanted()
        if _digests(JARS) == wanted:
            return JARS
        if missing := what_is_missing():
            raise KafkaError(missing)
        shutil.rmtree(JARS, ignore_errors=True)
        command = ["mvn", "-B", "-q", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
        made = subprocess.run(
            [*command, "-DincludeScope=runtime", f"-DoutputDirectory={JARS}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise KafkaError(f"Maven could not fetch the broker's jars: {_tail(made.stdout + made.stderr)}")
        found = _digests(JARS)
        if wrong := sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)):
            raise KafkaError(
                f"{', '.join(wrong)} in {JARS} differ from deploy/kafka/jars.sha256, so no broker is started; "
                "if deploy/kafka/pom.xml was changed on purpose, run `make kafka-jars`"
            )
        return JARS


@contextmanager
def _alone() -> Iterator[None]:
    """Keep two starts at the same time from fetching into the same folder."""
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _wanted() -> dict[str, str]:
    lines = (HERE / "jars.sha256").read_text("utf-8").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.jar")}


def _tail(text: str) -> str:
    """Give the last lines of what a program said as one, without the places in its code."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    return " | ".join(lines[-4:]) or "it said nothing"


def is_free(port: int) -> bool:
    """Tell whether nothing listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """Give a port of 127.0.0.1 that nothing listens on."""
    low, high = PORTS
    while True:
        port = low + secrets.randbelow(high - low)
        if is_free(port):
            return port


def main() -> int:
    """Run a broker on port 9092 until Ctrl-C; its data stay in `.kafka/data`."""
    # As Ctrl-C: the broker is ended in order.
    signal.signal(signal.SIGTERM, lambda _number, _frame: os.kill(os.getpid(), signal.SIGINT))
    try:
        with Broker(CACHE / "broker", port=PORT, brief=False) as broker:
            created = create_topics(Kafka(bootstrap=broker.bootstrap))
            print(f"kafka: on {broker.bootstrap}, {len(created)} topics created; data and log in {broker.folder}")
            print("kafka: Ctrl-C ends it", flush=True)
            while broker.pid:
                time.sleep(0.5)
            print(f"kafka: the broker has ended by itself; {broker.log} may say why", file=sys.stderr)
            return 1
    except KeyboardInterrupt:
        return 0
    except QuorumError as error:
        print(f"kafka: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
