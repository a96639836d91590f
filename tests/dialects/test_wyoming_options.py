"""What the owner may choose for Home Assistant."""

from wyoming.info import AsrProgram

from lanscribe.dialects.wyoming_options import WyomingOptions, asr_program
from lanscribe.engines.base import EngineInfo

INFO = EngineInfo("embedded", "moonshine", ("en",), False, None, 4)


def test_the_client_ends_a_command_unless_the_server_does() -> None:
    assert WyomingOptions().command is None
    command = WyomingOptions(end_silence_s=0.7).command
    assert command is not None
    assert (command.silence_s, command.is_command) == (0.7, True)


def test_a_client_reads_who_ends_a_command() -> None:
    mine, ours = (
        AsrProgram.from_dict(asr_program(INFO, ends_commands=ends)) for ends in (False, True)
    )
    assert (mine.requires_external_vad, ours.requires_external_vad) == (True, False)
    assert mine.models[0].languages == ["en"]
