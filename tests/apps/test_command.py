import logging
import os
import runpy
import signal
import sys
import time

import pytest

from gha.apps import cli
from gha.apps.command import report_errors, run_command
from gha.errors import GhaError

SCHEMA = "gha.training.stage:LoopConfig"


def test_config_and_overrides_reach_the_body(tmp_path):
    (tmp_path / "a.yaml").write_text("steps: 5\nseed: 9")
    seen = []
    code = run_command("Test.", SCHEMA, seen.append, ["seed=2", "--config", str(tmp_path / "a.yaml"), "log_every=7"])
    assert code == 0
    assert (seen[0].steps, seen[0].seed, seen[0].log_every) == (5, 2, 7)


def test_errors_are_one_line_and_code_one(capsys, monkeypatch):
    monkeypatch.delenv("GHA_DEBUG", raising=False)
    assert run_command("Test.", SCHEMA, print, ["stepz=1"]) == 1
    assert capsys.readouterr().err == "error: command line: stepz: unknown key; did you mean steps?\n"

    def full():
        raise OSError(28, "No space left on device", "preview.png")

    assert report_errors(full) == 1
    assert capsys.readouterr().err == "error: preview.png: no space left on device\n"


def test_debug_shows_the_traceback(capsys, monkeypatch):
    def fail():
        raise GhaError("the neck is missing")

    monkeypatch.setenv("GHA_DEBUG", "1")
    assert report_errors(fail) == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.endswith("error: the neck is missing\n")


def test_interruption_is_no_traceback(capsys):
    def interrupt():
        raise KeyboardInterrupt

    assert report_errors(interrupt) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_one_of_several_processes_says_which_it_is(capsys, monkeypatch):
    def fail(error):
        raise error

    monkeypatch.setenv("RANK", "2")
    assert report_errors(lambda: fail(GhaError("no such picture"))) == 1
    assert capsys.readouterr().err == "process 2: error: no such picture\n"
    assert report_errors(lambda: fail(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "", "all are interrupted; the first says so"


def test_sigterm_unwinds_like_an_interruption(capsys):
    before, unwound = signal.getsignal(signal.SIGTERM), []

    def terminate():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            unwound.append(True)

    assert report_errors(terminate) == 130
    assert unwound
    assert capsys.readouterr().err == "interrupted\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_bugs_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        report_errors(lambda: 1 / 0)


def test_the_log_appears_once_on_stderr(capsys):
    report_errors(lambda: None)
    report_errors(lambda: logging.getLogger("gha.somewhere").warning("a warning"))
    assert capsys.readouterr().err == "warning: a warning\n"


def test_usage_errors_are_code_two(capsys):
    with pytest.raises(SystemExit) as caught:
        run_command("Test.", SCHEMA, print, ["--confg", "x"])
    assert caught.value.code == 2
    assert cli.main(["trian-mesh"]) == 2
    assert "no verb 'trian-mesh'" in capsys.readouterr().err
    assert cli.main([]) == 2


def test_help_and_version(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in cli.VERBS)
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("gha 0.")


def test_a_verb_runs_with_its_arguments(monkeypatch):
    seen = []
    monkeypatch.setitem(cli.VERBS, "probe", cli.Verb(f"{__name__}:_probe", "test"))
    monkeypatch.setattr(sys.modules[__name__], "_probe", lambda argv: seen.append(argv) or 7, raising=False)
    monkeypatch.delenv("GHA_DEBUG", raising=False)
    assert cli.main(["probe", "a=1", "--debug"]) == 7
    assert seen == [["a=1"]]
    assert os.environ.pop("GHA_DEBUG") == "1"


def test_python_dash_m(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gha", "--help"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("gha", run_name="__main__")
    assert caught.value.code == 0
    assert "train-gaussian" in capsys.readouterr().out
