import json

import pytest

from lanscribe.admin.check import Check
from lanscribe.admin.machine import PortFacts
from lanscribe.admin.tls_check import TlsFacts, judge_running, judge_tls
from lanscribe.installation import Outcome

FREE = Check("tls", "ok", "8443 is free")
TAKEN = Check("tls", "warn", "8443 is taken", "end what runs there")
BOX = {
    "mode": "box",
    "days_left": 396,
    "authority_days_left": 3650,
    "readable_by_others": "",
    "trouble": "",
}
OWN = {"mode": "own", "days_left": 60, "readable_by_others": "", "trouble": ""}


def judged(told: dict[str, object], port: Check = FREE) -> Check:
    return judge_tls(TlsFacts("auto", Outcome(0, json.dumps(told))), port)


def test_off_is_no_fault() -> None:
    assert judge_tls(TlsFacts("off", None), TAKEN) == Check("tls", "ok", "off in the settings")


def test_what_cannot_be_read_is_a_warning() -> None:
    assert judge_tls(TlsFacts("auto", None), FREE).remedy == "bash setup.sh"
    check = judge_tls(TlsFacts("auto", Outcome(2, "", "lanscribe: tls.mode: got x\n")), FREE)
    assert (check.status, "tls.mode: got x" in check.result) == ("warn", True)


@pytest.mark.parametrize(
    ("told", "status", "words"),
    [
        (BOX, "ok", "8443 is free; the box's own certificate, 396 days left; it renews itself"),
        ({**BOX, "days_left": None, "authority_days_left": None}, "ok", "the first start makes"),
        ({**BOX, "days_left": None}, "ok", "the next start makes"),
        ({**BOX, "authority_days_left": 60}, "warn", "the authority ends in 60 days"),
        ({**BOX, "trouble": "authority.key is damaged"}, "warn", "no https: authority.key is"),
        ({**BOX, "readable_by_others": "a.key"}, "warn", "can read the private key in a.key"),
        (OWN, "ok", "8443 is free; your own certificate, 60 days left"),
        ({**OWN, "days_left": 13}, "warn", "your certificate ends in 13 days"),
        ({**OWN, "days_left": -1}, "fail", "your certificate has ended"),
        ({**OWN, "trouble": "tls.cert: a.pem: gone"}, "fail", "tls.cert: a.pem: gone"),
    ],
)
def test_the_certificate(told: dict[str, object], status: str, words: str) -> None:
    check = judged(told)
    assert (check.status, words in check.result) == (status, True)
    assert bool(check.remedy) is (status != "ok")


def test_a_taken_port_is_said_with_its_remedy() -> None:
    check = judged(BOX, TAKEN)
    assert check.status == "warn"
    assert check.result.startswith("8443 is taken; the box's own")
    assert check.remedy == TAKEN.remedy


def test_a_server_at_the_port_is_not_taken_for_another_program() -> None:
    silent = PortFacts("0.0.0.0", 8443, "Address already in use")
    check = judge_running(silent, ["box"], is_own=False)
    assert check is not None
    assert (check.status, "end what runs there" in check.remedy) == ("warn", False)
    assert check.result == "8443: lanscribe is running there, but has no certificate to show"
    assert judge_running(silent, [], is_own=False) is None
    assert judge_running(PortFacts("0.0.0.0", 8443, ""), ["box"], is_own=False) is None


def test_a_certificate_that_flags_name_is_not_the_boxs_own() -> None:
    served = PortFacts("0.0.0.0", 8443, "Address already in use", (200, "{}"))
    check = judge_running(served, ["own"], is_own=False)
    assert check is not None
    assert check.result.endswith("with a certificate that its flags name")
    assert judge_running(served, ["own"], is_own=True) is None
    assert judge_running(served, ["box"], is_own=False) is None
