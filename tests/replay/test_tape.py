"""A cassette on disk: nothing that was written is lost, and damage is an error with its place, never a gap."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay import tape
from replay.cassette import RecordedVerdicts
from replay.tape import RunMark, TapeWriter, is_tape, read_entries, read_tape
from schemas.base import Event
from schemas.errors import ArchiveError, RefusedError
from tests.connectors.models.test_purse import ended, started
from tests.replay.test_gateway import request, verdict

ROOT = Path(__file__).parents[2]
FIRST = "00000001.cassette"


def write(root: Path, *events: Event, run: str = "r") -> Path:
    with TapeWriter(root, run) as writer:
        for event in events:
            writer.append(event)
    return root


def three(root: Path) -> Path:
    """Write a call and its answer."""
    write(root, started("a", "0.5"), ended("a", "0.1"), verdict(request()))
    return root / FIRST


def test_what_was_written_is_read_in_order_over_all_files(tmp_path: Path) -> None:
    first = [started("a", "0.5"), ended("a", "0.1")]
    write(tmp_path, *first)
    write(tmp_path, verdict(request()), run="s")
    assert [event for _, event in read_tape(tmp_path)] == [*first, verdict(request())]
    assert [(entry.run, type(entry.what) is RunMark) for entry in read_entries(tmp_path)] == [
        ("r", True),
        ("r", False),
        ("r", False),
        ("s", True),
        ("s", False),
    ]
    assert is_tape(tmp_path)
    assert len(RecordedVerdicts.load(tmp_path)) == 1


def test_a_recording_that_writes_nothing_leaves_no_file(tmp_path: Path) -> None:
    write(tmp_path / "new")
    assert not is_tape(tmp_path / "new")
    assert not list(read_tape(tmp_path / "nowhere"))


def test_one_process_records_at_a_time(tmp_path: Path) -> None:
    with TapeWriter(tmp_path, "r"), pytest.raises(ArchiveError, match="another process records"):
        TapeWriter(tmp_path, "s")
    TapeWriter(tmp_path, "s").close()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_changed_byte_goes_unseen(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whichever byte of a cassette changes, what is read is an error, never another answer or one fewer."""
    root = tmp_path_factory.mktemp("cassette")
    path = three(root)
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]))
    path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
    with pytest.raises(ArchiveError, match=rf"{FIRST}, line \d: not a whole entry"):
        list(read_tape(root))


@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_line_that_is_taken_out_or_moved_is_an_error(line: int, tmp_path: Path) -> None:
    path = three(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    for changed in (
        lines[:line] + lines[line + 1 :],
        [*lines[:line], lines[line + 1], lines[line], *lines[line + 2 :]],
    ):
        path.write_bytes(b"".join(changed))
        with pytest.raises(ArchiveError, match="is not that of what stands there and before"):
            list(read_tape(tmp_path))


def test_a_line_that_breaks_off_at_the_end_is_the_one_that_was_being_written(tmp_path: Path) -> None:
    path = three(tmp_path)
    whole = path.read_bytes()
    ends = [n for n, byte in enumerate(whole, start=1) if byte == 0x0A]
    for cut in range(ends[2] + 1, len(whole)):
        path.write_bytes(whole[:cut])
        events = [event for _, event in read_tape(tmp_path)]
        assert events[:2] == [started("a", "0.5"), ended("a", "0.1")]
        assert len(events) == (3 if cut == len(whole) - 1 else 2)  # but for its line's end it is whole
    path.write_bytes(whole[: ends[2] + 10])
    write(tmp_path, verdict(request(1)))  # another file: what broke off stays as it is
    assert [event for _, event in read_tape(tmp_path)][2:] == [verdict(request(1))]


def test_nothing_is_written_behind_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full").touch()
    opened = (tmp_path / "full").open("rb")

    class Full:
        name = "full"

        def write(self, data: memoryview) -> int:
            raise OSError(28, "No space left on device")

        def fileno(self) -> int:
            return opened.fileno()

        def close(self) -> None:
            opened.close()

    with TapeWriter(tmp_path, "r") as writer:
        writer.append(started("a", "0.5"))
        assert writer._file is not None
        writer._file.close()
        monkeypatch.setattr(writer, "_file", Full())
        for _ in range(2):
            with pytest.raises(ArchiveError, match="No space left"):
                writer.append(ended("a", "0.1"))
            monkeypatch.setattr(writer, "_file", Full())
    assert len(list(read_tape(tmp_path))) == 1


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    with TapeWriter(tmp_path, "r") as writer:
        with pytest.raises(RefusedError):
            writer.append(verdict(request(), reasoning="\x00"))
        writer.append(verdict(request()))
    assert len(RecordedVerdicts.load(tmp_path)) == 1


def test_fifty_threads_write_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tape, "SYNC_EVERY_S", 0.01)
    with TapeWriter(tmp_path, "r") as writer:

        def work(number: int) -> None:
            for turn in range(10):
                writer.append(started(f"{number}/{turn}", "0.5"))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(50)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert len({event.id for _, event in read_tape(tmp_path)}) == 500


KILLED = """
import sys
from pathlib import Path
from replay.tape import TapeWriter
from tests.connectors.models.test_purse import started
writer = TapeWriter(Path(sys.argv[1]), "r")
for n in range(1_000_000):
    writer.append(started(str(n), "0.5"))
    print(n, flush=True)
"""


def test_a_process_that_is_killed_loses_nothing_that_it_wrote(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen = [int(process.stdout.readline()) for _ in range(200)]
    os.kill(process.pid, signal.SIGKILL)
    seen += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    process.stdout.close()
    process.wait()
    kept = [int(event.id) for _, event in read_tape(tmp_path)]
    assert kept[: len(seen)] == seen
    assert len(kept) - len(seen) <= 1
    write(tmp_path, verdict(request()))  # the lock of the dead is nobody's
