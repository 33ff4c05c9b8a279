"""In which thread old objects are called: the old daemon had one for each exchange and its parser."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing
from typing import Any

import pytest

CONFIGURATION = """
import os
import sqlite3

import agentlib
import plugins
import commands.command_list


class Queue(object):

    def __init__(self, path):
        self.path = path
        self.db = None

    def get_request(self):
        if self.db is None:
            self.db = sqlite3.connect(self.path)
        row = self.db.execute("SELECT number, data FROM queue WHERE answer IS NULL ORDER BY number").fetchone()
        return row and {"data": row[1], "number": row[0]}

    def put_response(self, request, response):
        self.db.execute("UPDATE queue SET answer = ? WHERE number = ?", (response["data"], request["number"]))
        self.db.commit()


class Parser(plugins.JsonParser):

    def parse_request(self, request):
        queue.db.execute("SELECT 1")
        return plugins.JsonParser.parse_request(self, request)


class Counting(commands.CommandBase):
    db = None

    @commands.command_add("acme.count")
    def count_cmd(self, value):
        if self.db is None:
            self.db = sqlite3.connect(queue.path)
        return (0, str(self.db.execute("SELECT count(*) FROM queue WHERE answer IS NULL").fetchone()[0]))


c = commands.init()
c.run_command("version", "")
queue = Queue(os.environ["ACME_SPOOL"] + "/queue")
agentlib.register(queue, {parser}(c))
agentlib.register(plugins.XSComm(), plugins.JsonParser(c))
"""
COUNT = '{"name": "acme.count", "value": ""}'


@pytest.mark.parametrize("parser", ["plugins.JsonParser", "Parser"])
@pytest.mark.parametrize("words", [["-n"], []], ids=["foreground", "forked"])
def test_what_an_old_object_opened_in_one_call_it_can_use_in_the_next(
    old_agent: Any, wait: Any, parser: str, words: list[str]
) -> None:
    with closing(sqlite3.connect(old_agent.spool / "queue")) as database:
        database.execute("CREATE TABLE queue (number INTEGER PRIMARY KEY, data TEXT, answer TEXT)")
        database.executemany("INSERT INTO queue (data) VALUES (?)", [(COUNT,)] * 3)
        database.commit()
        old_agent.config.write_text(CONFIGURATION.replace("{parser}", parser))
        process, pid_file = None, old_agent.folder / "pid"
        if words:
            process = old_agent.start(old_agent.config)
        else:
            assert old_agent.run("-p", pid_file, old_agent.config).returncode == 0

        def answers() -> list[str]:
            found = database.execute("SELECT answer FROM queue WHERE answer IS NOT NULL ORDER BY number").fetchall()
            return [json.loads(answer)["message"] for (answer,) in found]

        try:
            wait(lambda: len(answers()) == 3, "the answers")
        finally:
            if process is not None:
                assert old_agent.stop(process)[0] == 0
            else:
                os.kill(int(pid_file.read_text()), signal.SIGTERM)
                wait(lambda: not pid_file.exists(), "the end")
        assert answers() == ["3", "2", "1"]
        assert "[ERROR]" not in old_agent.logged()
