"""What a guest writes where a number belongs may be anything: the host side tells of it, and does not fail over it."""

from __future__ import annotations

import threading
import time

import pytest

from guestagent_xen.devstore import DevelopmentStore
from guestagent_xen.host import Answer, AnswerError, GuestClient
from guestagent_xen.host.xapi import XapiHost

HOME = "/local/domain/7"


@pytest.mark.parametrize("message", ["²", "", "-5", "5.0", "five", "0", "1", str(2**107 - 2), "1" * 4000])
def test_a_key_that_is_no_number_is_told(message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = GuestClient(7)
    monkeypatch.setattr(client, "call", lambda name, value="": Answer("D0", message))
    with pytest.raises(AnswerError, match="keyinit"):
        client.set_password("secret")


@pytest.mark.parametrize(("returned", "number"), [("--5", None), ("²", None), ("", None), ("-5", -5), ("3", 3)])
def test_what_a_script_returns_may_be_no_number(returned: str, number: int | None) -> None:
    with DevelopmentStore() as store:
        store.add_guest(7)
        store.write(f"{HOME}/control/feature-xs-batcmd", b"1")

        def answer() -> None:
            while store.read(f"{HOME}/control/batcmd/state") != b"READY":
                time.sleep(0.01)
            store.write(f"{HOME}/control/batcmd/return", returned.encode())
            store.write(f"{HOME}/control/batcmd/state", b"SUCCESS")

        guest = threading.Thread(target=answer)
        guest.start()
        with XapiHost(7, socket=str(store.path)) as host:
            outcome = host.script("version", timeout=30)
        guest.join()
    assert (outcome.state, outcome.returned) == ("SUCCESS", number)
