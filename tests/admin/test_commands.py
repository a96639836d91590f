"""One command: bash setup.sh, bash serve.sh WORD; help and the documents name the same words."""

import argparse
import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from lanscribe import PROJECT_DIR
from lanscribe.admin.commands import SCRIPT_WORDS, WORDS, dispatch
from tests.projects import copy_project, lend_venv, run_script

DOCUMENTS = [
    *PROJECT_DIR.glob("*.md"),
    *PROJECT_DIR.glob("docs/*.md"),
    *PROJECT_DIR.glob("config/**/*.toml"),
    *PROJECT_DIR.glob("config/**/*.yaml"),
]
KEY = "a-key-of-the-tests"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_project(tmp_path_factory.mktemp("words") / "a b" / "lanscribe")
    lend_venv(folder)
    return folder


@pytest.mark.slow
def test_help_lists_every_word_in_one_line(project: Path, tmp_path: Path) -> None:
    done = run_script(project / "serve.sh", "help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for word, command in WORDS.items():
        assert re.search(rf"^  {word} +{command.meaning}$", done.stdout, re.M)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_word_in_the_documents_exists_and_no_other_program_is_named(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = set(re.findall(r"bash serve\.sh ([a-z][a-z-]*)", text))
    assert named <= WORDS.keys(), f"{document}: {named - WORDS.keys()}"
    assert "-m lanscribe" not in text


@pytest.mark.parametrize("word", sorted(WORDS.keys() - {"help"}))
def test_every_word_is_in_the_documents(word: str) -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    assert re.search(rf"serve\.sh {word}\b", text), word


@pytest.mark.parametrize("word", [*WORDS, *SCRIPT_WORDS])
def test_every_word_leads_to_a_module_that_runs_it(word: str) -> None:
    command = (WORDS | SCRIPT_WORDS)[word]
    module = import_module(command.module)
    module.add_flags(argparse.ArgumentParser())
    assert callable(module.main)


@pytest.mark.parametrize("word", WORDS)
def test_every_word_has_help_of_its_own(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        dispatch([word, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: bash serve.sh {word}")


@pytest.mark.parametrize("arguments", [[], ["sing"], ["--port", "1"], ["stop", "--loud"]])
def test_a_wrong_word_or_flag_is_one_line_and_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = dispatch(arguments)
    except SystemExit as end:
        status = int(end.code or 0)
    assert status == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_word_reaches_the_program_through_the_script(project: Path, tmp_path: Path) -> None:
    done = run_script(project / "serve.sh", "plan", "--gpu-memory", "12", cwd=tmp_path)
    assert done.returncode == 0
    assert "fits, with these options of vLLM" in done.stdout
    shown = run_script(project / "serve.sh", "plan", "--help", cwd=tmp_path)
    assert "--gpu-memory" in shown.stdout
    assert run_script(project / "serve.sh", "sing", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("given", ["x", "0", "nan"])
def test_a_number_that_is_none_is_named(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        dispatch(["plan", "--gpu-memory", given])
    assert capsys.readouterr().err == (
        f"lanscribe: argument --gpu-memory: {given} is not from 1 to 1024;"
        " bash serve.sh plan --help lists the flags\n"
    )


def test_the_words_of_setup_run_without_any_package() -> None:
    words = ["installation", "doctor", "gpu", "key", "models", "vllm-setup", "stop", "report"]
    words += ["fitness"]
    modules = [(WORDS | SCRIPT_WORDS)[word].module for word in words]
    script = (
        f"import sys; sys.path.append({str(PROJECT_DIR)!r})\n"
        "import lanscribe.__main__, lanscribe.admin.commands\n"
        f"from importlib import import_module\nfor name in {modules}: import_module(name)\n"
        "print(*sorted(sys.modules))"
    )
    command = [sys.executable, "-I", "-S", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded - set(sys.stdlib_module_names) <= {"lanscribe", "__main__"}


@pytest.mark.slow
def test_the_key_is_made_and_shown(project: Path, tmp_path: Path) -> None:
    script = project / "serve.sh"
    none = run_script(script, "key", cwd=tmp_path)
    assert (none.returncode, "serve.sh key make" in none.stderr) == (1, True)
    assert run_script(script, "key", "make", cwd=tmp_path).returncode == 0
    shown = run_script(script, "key", cwd=tmp_path)
    assert shown.stdout == (project / "config/key").read_text()
    again = run_script(script, "key", "make", cwd=tmp_path)
    assert (again.returncode, "is there already" in again.stdout) == (0, True)
    assert run_script(script, "key", "show", cwd=tmp_path).stdout == shown.stdout


@pytest.mark.slow
def test_the_key_is_that_of_the_settings(project: Path, tmp_path: Path) -> None:
    script, other = project / "serve.sh", {"LANSCRIBE_AUTH_KEY_FILE": "config/other"}
    none = run_script(script, "key", cwd=tmp_path, environment=other)
    why = "there is no key in config/other; bash serve.sh key make makes one"
    assert (none.returncode, none.stderr) == (1, f"lanscribe: {why}\n")
    made = run_script(script, "key", "make", cwd=tmp_path, environment=other)
    assert made.stderr.endswith("home network: config/other\n")
    shown = run_script(script, "key", cwd=tmp_path, environment=other)
    assert shown.stdout == (project / "config/other").read_text()
    is_open = run_script(
        script, "key", cwd=tmp_path, environment={**other, "LANSCRIBE_AUTH_MODE": "open"}
    )
    assert (is_open.returncode, is_open.stdout) == (0, shown.stdout)
    assert is_open.stderr == (
        'lanscribe: auth.mode is "open": everybody is admitted, with or without a key\n'
    )
    (project / "config/local.toml").write_text("[auth]\nmode = 'none'")
    for arguments in (["key"], ["key", "make"]):
        wrong = run_script(script, *arguments, cwd=tmp_path)
        assert (wrong.returncode, "auth.mode: got 'none'" in wrong.stderr) == (2, True)
    (project / "config/local.toml").unlink()


def test_models_says_what_is_here_and_what_brings_it(project: Path, tmp_path: Path) -> None:
    listed = run_script(project / "serve.sh", "models", cwd=tmp_path)
    assert listed.returncode == 0
    assert "tiny-en   not here; bash setup.sh --model tiny-en\n" in listed.stdout
    checked = run_script(project / "serve.sh", "models", "check", cwd=tmp_path)
    assert (checked.returncode, "there is no model here" in checked.stderr) == (1, True)


@pytest.mark.slow
def test_a_report_has_the_facts_and_no_secret(project: Path, tmp_path: Path) -> None:
    environment = {
        "LANSCRIBE_AUTH_KEY": KEY,
        "LANSCRIBE_VLLM_ARGUMENTS": f"--api-key {KEY}",
        "LANSCRIBE_VLLM_URL": f"http://me:{KEY}@box:8001",
        "LANSCRIBE_LIMITS_CONNECTIONS": "77",
        "HOME": str(project.parent),
    }
    done = run_script(project / "serve.sh", "report", cwd=tmp_path, environment=environment)
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["settings"]["LANSCRIBE_LIMITS_CONNECTIONS"] == "77"
    assert {"packages", "gpu", "port"} <= {check["name"] for check in report["checks"]}
    assert report["system"]
    assert KEY not in done.stdout + done.stderr
    assert str(project) not in done.stdout
    assert os.linesep not in report["system"]
