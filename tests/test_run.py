"""run.py decides well; that it installs is shown by CI, which starts from nothing."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = (
    "numpy==2.4\ntorch==2.13.0\ntorchmetrics==1\nnvidia-cublas==13.1\ncuda-toolkit==13\ntriton==3.7\ntqdm==4\n"
)


@pytest.fixture
def run(monkeypatch):
    spec = importlib.util.spec_from_file_location("run_script", ROOT / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "has_nvidia_gpu", lambda: False)
    return module


@pytest.fixture
def pip_calls(run, monkeypatch):
    """Arguments of every pip call, with the constraints it was given instead of their temporary path."""
    calls = []

    def record(python, arguments):
        if arguments[0] == "-c":
            arguments = ["-c", Path(arguments[1]).read_text(), *arguments[2:]]
        calls.append(arguments)

    monkeypatch.setattr(run, "pip", record)
    return calls


def inside(**changes):
    return {"python": [3, 11, 7], "prefix": "/env", "torch": None, "cuda": None, "gha": None, "pip": True, **changes}


def test_it_uses_the_standard_library_only():
    code = "import sys; sys.path[:0] = [sys.argv[1]]; import run; print(run.fingerprint())"
    result = subprocess.run([sys.executable, "-I", "-S", "-c", code, str(ROOT)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_usage(run, capsys):
    assert run.main([]) == 2
    assert run.main(["dmeo"]) == 2
    assert run.main(["--help"]) == 0
    assert "python3 run.py demo" in capsys.readouterr().out


def test_a_fresh_environment_gets_everything(run, pip_calls, monkeypatch):
    monkeypatch.setattr(run, "wants_cpu_wheels", lambda python: False)
    run.install(Path("python"), inside())
    assert pip_calls == [["-c", (ROOT / "constraints.txt").read_text(), "-e", ".[dev]"]]


def test_without_a_gpu_only_torch_comes_from_the_cpu_index(run, pip_calls, monkeypatch):
    monkeypatch.setattr(run, "wants_cpu_wheels", lambda python: True)
    run.install(Path("python"), inside())
    assert pip_calls[0] == ["--no-deps", "torch==2.13.0", "--extra-index-url", run.CPU_WHEELS]
    assert run.CPU_WHEELS not in pip_calls[1]


def test_an_installed_torch_is_kept(run, pip_calls, capsys):
    run.install(Path("python"), inside(torch="2.11.0+cu130", cuda="13.0"))
    assert len(pip_calls) == 1
    assert "torch==" not in pip_calls[0][1]
    assert "nvidia-" not in pip_calls[0][1]
    assert "numpy==" in pip_calls[0][1]
    assert "keeping PyTorch 2.11.0+cu130" in capsys.readouterr().out


def test_dropping_torch_leaves_the_rest(run):
    kept = run.without_torch(CONSTRAINTS)
    assert kept == "numpy==2.4\ntorchmetrics==1\ntqdm==4\n"


def test_an_old_torch_is_refused(run, pip_calls):
    with pytest.raises(run.SetupError, match=r"holds PyTorch 2\.8\.1\+cpu; gha needs 2\.9 or later"):
        run.install(Path("python"), inside(torch="2.8.1+cpu"))
    run.install(Path("python"), inside(torch="2.10.0"))
    assert len(pip_calls) == 1


@pytest.mark.parametrize(
    ("platform", "gpu", "own_index", "reachable", "expected"),
    [
        ("linux", False, False, True, True),
        ("linux", True, False, True, False),
        ("linux", False, True, True, False),
        ("linux", False, False, False, False),
        ("darwin", False, False, True, False),
    ],
)
def test_when_the_cpu_index_is_asked(run, monkeypatch, platform, gpu, own_index, reachable, expected):
    monkeypatch.setattr(run.sys, "platform", platform)
    monkeypatch.setattr(run, "has_nvidia_gpu", lambda: gpu)
    monkeypatch.setattr(run, "has_own_index", lambda python: own_index)
    monkeypatch.setattr(run, "answers", lambda url: reachable)
    assert run.wants_cpu_wheels(Path("python")) is expected


def test_an_index_of_the_users_own_is_noticed(run, monkeypatch):
    pytest.importorskip("pip")
    for name in ("PIP_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://example.invalid/simple")
    assert not run.has_own_index(Path(sys.executable))
    monkeypatch.setenv("PIP_INDEX_URL", "https://example.invalid/simple")
    assert run.has_own_index(Path(sys.executable))


def test_an_address_that_does_not_answer(run):
    assert not run.answers("http://127.0.0.1:9/")
    assert not run.answers("not an address")


@pytest.mark.parametrize("reachable", [False, True])
def test_a_failure_of_pip_is_explained(run, monkeypatch, reachable):
    monkeypatch.setattr(run.subprocess, "call", lambda *args, **kwargs: 1)
    monkeypatch.setattr(run, "has_own_index", lambda python: False)
    monkeypatch.setattr(run, "answers", lambda url: reachable)
    expected = r"pip failed; its reason is above" if reachable else r"pypi\.org cannot be reached.*HTTPS_PROXY"
    with pytest.raises(run.SetupError, match=expected):
        run.pip(Path("python"), ["-e", "."])


def test_an_environment_with_another_python_is_refused(run, monkeypatch):
    monkeypatch.setattr(run, "active_environment", lambda: Path("python"))
    monkeypatch.setattr(run, "look_inside", lambda python: inside(python=[3, 13, 0]))
    with pytest.raises(run.SetupError, match=r"has Python 3\.13\.0; expected 3\.11 or 3\.12"):
        run.set_up()


def test_another_python_looks_for_a_supported_one(run, monkeypatch, capsys):
    monkeypatch.setattr(run.sys, "version_info", (3, 14, 0, "final", 0))
    monkeypatch.setattr(run.shutil, "which", lambda name: sys.executable if name == "python3.11" else None)
    assert run.supported_python() == sys.executable
    assert "this is Python 3.14.0; using" in capsys.readouterr().out
    monkeypatch.setattr(run.shutil, "which", lambda name: None)
    with pytest.raises(run.SetupError, match=r"Python 3\.14\.0; expected 3\.11 or 3\.12, and none is on the PATH"):
        run.supported_python()


def test_a_python_without_the_venv_module_is_explained(run, monkeypatch, tmp_path):
    fake = tmp_path / "python3.11"
    fake.write_text("#!/bin/sh\necho 'ensurepip is not available'\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(run, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(run, "supported_python", lambda: str(fake))
    with pytest.raises(run.SetupError, match=r"(?s)ensurepip is not available.*apt install python3-venv"):
        run.own_environment()


def test_the_second_call_installs_nothing(run, pip_calls, monkeypatch, tmp_path):
    monkeypatch.setattr(run, "active_environment", lambda: Path("python"))
    monkeypatch.setattr(run, "wants_cpu_wheels", lambda python: False)
    state = inside(prefix=str(tmp_path))
    monkeypatch.setattr(run, "look_inside", lambda python: dict(state))
    run.set_up()
    state |= {"gha": "0.1.0", "torch": "2.13.0+cpu"}
    run.set_up()
    assert len(pip_calls) == 1
    monkeypatch.setattr(run, "fingerprint", lambda: "changed")
    run.set_up()
    assert len(pip_calls) == 2


def test_a_gpu_without_a_cuda_build_is_pointed_out(run, pip_calls, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(run, "active_environment", lambda: Path("python"))
    monkeypatch.setattr(run, "has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(run, "look_inside", lambda python: inside(prefix=str(tmp_path), torch="2.13.0+cpu", gha="0"))
    run.set_up()
    assert "has an NVIDIA GPU, but PyTorch 2.13.0+cpu here is a CPU build" in capsys.readouterr().out
    cuda = inside(prefix=str(tmp_path), torch="2.13.0", gha="0", cuda="13.0")
    monkeypatch.setattr(run, "look_inside", lambda python: cuda)
    run.set_up()
    assert "warning" not in capsys.readouterr().out


def test_looking_inside_this_environment(run):
    found = run.look_inside(Path(sys.executable))
    assert found["python"] == list(sys.version_info[:3])
    import torch

    assert found["torch"] == torch.__version__
    assert found["cuda"] == torch.version.cuda


def test_every_dependency_is_pinned(run):
    import re
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pinned = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.M)
    assert {re.match(r"[\w-]+", name)[0].lower() for name in wanted} <= {name.lower() for name in pinned}


def test_linter_and_formatter_count_like_tests(run, monkeypatch, capsys):
    codes = {"ruff": 1, "pytest": 0}
    seen = []

    def call(command, cwd):
        seen.append(command[2:])
        return codes[command[2]]

    monkeypatch.setattr(run.subprocess, "call", call)
    assert run.run_tests(Path("python"), []) == 1
    assert "ruff has complaints" in capsys.readouterr().out
    codes.update(ruff=0, pytest=3)
    assert run.run_tests(Path("python"), ["-k", "camera"]) == 3
    assert seen[2] == ["pytest", "--cov"]
    assert seen[-1] == ["pytest", "-k", "camera"]
