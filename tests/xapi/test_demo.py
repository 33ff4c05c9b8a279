"""The part of ``guestagent demo`` that shows what a XAPI host sees and sets."""

from __future__ import annotations

import re

from guestagent_core.demo import run_demos


def test_the_demo_shows_a_setting_arrive_one_refused_and_one_taken_back() -> None:
    lines: list[str] = []
    assert run_demos(lines.append) == []
    start = lines.index("== xapi, of guestagent_xapi 3.0.0")
    shown = "\n".join(lines[start : lines.index("", start) if "" in lines[start:] else None])
    assert "  name = Debian GNU/Linux 13\n" in shown
    assert "  feature-static-ip-setting = 1\n" in shown
    applied, refused, restored = re.split(r"  host   .*\n", shown)[1:]
    assert re.match(r"  agent  0 ''", applied)
    assert "+    address 192.0.2.10/24\n" in applied
    assert re.match(r"  agent  400 .*'192\.0\.2\.300' is not an IPv4 address", refused)
    assert "/etc/" not in refused, "nothing was written"
    assert re.match(r"  agent  0 ''", restored)
    assert "+iface eth0 inet dhcp" in restored
    assert "-    address 192.0.2.10/24\n" in restored
