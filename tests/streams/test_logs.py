"""A line is an object, whatever is logged; outside text and secrets do nothing in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.kafka import CLIENT_LOG
from streams.logs import MAX_SAID, JsonFormatter, PlainFormatter, Repeats, configure, configure_command, printable

HOSTILE = 'a\n{"level":"error"}\x1b[2J\u2028\x85 "quoted" \\ é'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("quorum.desk", logging.WARNING, "", 0, message, None, None)
    made.created = 1_700_000_000.25
    vars(made).update(extra)
    return made


def test_a_line_holds_the_fields_that_the_docs_name() -> None:
    line = JsonFormatter("w1").format(record("caught up", book="btc", event="e1", seq=7))
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250+00:00",
        "level": "warning",
        "logger": "quorum.desk",
        "message": "caught up",
        "worker": "w1",
        "book": "btc",
        "event": "e1",
        "seq": 7,
    }


def test_an_extra_field_cannot_pass_for_one_of_ours() -> None:
    assert json.loads(JsonFormatter("w1").format(record("x", level="debug", worker="other")))["level"] == "warning"
    assert json.loads(JsonFormatter("w1").format(record("x", worker="other")))["worker"] == "w1"


@given(st.text(), st.text())
def test_outside_text_stays_within_its_line_and_comes_back_whole(message: str, value: str) -> None:
    line = JsonFormatter("w1").format(record("%s", args=(message,), outside=value))
    assert line.isascii()
    assert line.isprintable()
    read = json.loads(line)
    assert (read["message"], read["outside"]) == (message, value)


@given(st.text(), st.text())
def test_a_person_sees_one_line_that_steers_no_terminal(message: str, value: str) -> None:
    assert PlainFormatter("w1").format(record("%s", args=(message,), outside=value)).isprintable()


def fail() -> None:
    raise ValueError(HOSTILE)


def test_an_exception_is_told_in_the_same_line() -> None:
    try:
        fail()
    except ValueError as error:
        made = record("part failed", exc_info=(type(error), error, error.__traceback__))
    read = json.loads(JsonFormatter("w1").format(made))
    assert read["error"] == f"ValueError: {HOSTILE}"
    assert "test_logs.py" in read["trace"]
    plain = PlainFormatter("w1").format(made).split("\n")
    assert "part failed" in plain[0]
    assert all(line.isprintable() and line.startswith("    ") for line in plain[1:])


@pytest.mark.parametrize("formatter", [JsonFormatter, PlainFormatter])
def test_no_line_shows_a_secret(formatter: type[JsonFormatter | PlainFormatter]) -> None:
    made = record("connecting as %s", args=('pa$s"wörd',), settings={"sasl.password": 'pa$s"wörd'})
    line = formatter("w1", ['pa$s"wörd', ""]).format(made)
    assert "rd" not in line.replace("password", "")
    assert "***" in line


def test_where_a_person_watches_lines_are_plain_and_elsewhere_json() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    configure("w1", stream=terminal)
    logging.getLogger("quorum.desk").info("caught up", extra={"book": "btc", "seq": 7})
    configure("w1", stream=pipe)
    logging.getLogger("quorum.desk").info("caught up", extra={"book": "btc", "seq": 7})
    assert terminal.getvalue().rstrip("\n").endswith('quorum.desk: caught up book="btc" seq=7')
    assert json.loads(pipe.getvalue())["book"] == "btc"


def test_libraries_are_heard_from_warnings_on() -> None:
    pipe = io.StringIO()
    configure("w1", stream=pipe)
    logging.getLogger("aiokafka.consumer").info("joined")
    logging.getLogger("faust.app").warning("lost")
    assert [json.loads(line)["message"] for line in pipe.getvalue().splitlines()] == ["lost"]


def test_a_command_says_in_plain_lines_what_went_wrong_and_nothing_else() -> None:
    pipe = io.StringIO()
    configure_command(stream=pipe, secrets=["pa55word"])
    logging.getLogger("quorum.desk").info("caught up")
    for _ in range(50):
        CLIENT_LOG.error("%s [%s] %s", "FAIL", "rdkafka#consumer-1", "pa55word refused\n")
    (line,) = pipe.getvalue().splitlines()
    assert line.endswith("ERROR    librdkafka: FAIL [rdkafka#consumer-1] *** refused\\n")


def told(filtering: Repeats, name: str, after_s: float, message: str = "node %s is away") -> logging.LogRecord | None:
    made = record(message, args=(after_s,), name=name)
    made.created += after_s
    return made if filtering.filter(made) else None


def test_a_library_that_repeats_itself_is_heard_every_ten_seconds_with_the_count() -> None:
    filtering = Repeats()
    passed = [told(filtering, "aiokafka", i / 10) for i in range(201)]
    heard = [made for made in passed if made]
    assert [vars(made).get("repeated") for made in heard] == [None, 99, 99]
    assert told(filtering, "aiokafka", 20.1, "another sentence")
    assert told(filtering, "aiokafka.consumer", 20.1)


def test_the_kafka_client_is_heard_on_each_kind_of_trouble() -> None:
    filtering = Repeats()
    for kind, passes in (("FAIL", True), ("FAIL", False), ("MAXPOLL", True), ("MAXPOLL", False)):
        said = record("%s [%s] %s", name=CLIENT_LOG.name, args=(kind, "rdkafka#consumer-1", "away"))
        assert filtering.filter(said) is passes


def test_what_quorum_says_is_never_left_out() -> None:
    filtering = Repeats()
    assert all(told(filtering, "quorum.desk", 0.0) for _ in range(50))


def test_few_sentences_are_remembered() -> None:
    filtering = Repeats()
    for number in range(3 * MAX_SAID):
        assert told(filtering, "aiokafka", 0.0, f"sentence {number}")
    assert len(filtering._last) <= MAX_SAID


def test_what_is_printable_stays() -> None:
    assert printable("BTC é 漢") == "BTC é 漢"
    assert printable("a\x1b\n") == "a\\x1b\\n"
