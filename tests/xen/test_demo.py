"""The part of ``guestagent demo`` that shows XenStore."""

from __future__ import annotations

import re

from guestagent_core.demo import run_demos


def test_the_demo_shows_what_happens_in_the_store() -> None:
    lines: list[str] = []
    assert run_demos(lines.append) == []
    start = lines.index("== xenstore, of guestagent_xen 3.0.0")
    shown = "\n".join(lines[start:])
    assert shown.count("READ, TRANSACTION_START, WRITE, RM, TRANSACTION_END\n") == 2
    answers = re.findall(r"  agent  /local/domain/7/data/guest/(\w+) = (.*) +\(\d+\.\d\d ms\)", shown)
    versions = """b'{"message": "3.0.0", "returncode": "0"}'"""
    malformed = """b'{"message": "Request is malformed", "returncode": "500"}'"""
    assert [(name, answer.rstrip()) for name, answer in answers] == [
        ("first", versions),
        ("second", malformed),
    ]
