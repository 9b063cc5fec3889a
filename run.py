#!/usr/bin/env python3
"""Two commands that set everything up by themselves, with nothing but Python 3.11 or 3.12.

usage: python3 run.py demo [arguments of demo.py]
       python3 run.py test [arguments of pytest]

The active virtual or conda environment is used when there is one; otherwise .venv is made beside this file. A PyTorch
that is already installed is kept. What was set up is remembered, so the second call starts at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "constraints.txt"
STAMP = "gha-setup.json"
PYTHONS = ((3, 11), (3, 12))
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"

# Runs inside the environment; importing torch itself would take seconds.
_LOOK_INSIDE = """
import importlib.metadata, importlib.util, json, re, sys
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
found = {"python": list(sys.version_info[:3]), "prefix": sys.prefix, "torch": version("torch"), "gha": version("gha")}
found["pip"] = importlib.util.find_spec("pip") is not None
found["cuda"] = None
if found["torch"]:
    path = importlib.metadata.distribution("torch").locate_file("torch/version.py")
    try:
        match = re.search(r"^cuda[^=]*= *'([^']+)'", open(path).read(), re.M)
        found["cuda"] = match and match[1]
    except OSError:
        pass
print(json.dumps(found))
"""


class SetupError(Exception):
    """Something the user has to mend; the message says what and how."""


def main(argv: list[str]) -> int:
    """Set up, then run the command; returns the exit code."""
    if not argv or argv[0] not in ("demo", "test"):
        print(__doc__.strip())
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    try:
        python = set_up()
    except SetupError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    sys.stdout.flush()
    return run_demo(python, argv[1:]) if argv[0] == "demo" else run_tests(python, argv[1:])


def run_demo(python: Path, arguments: list[str]) -> int:
    """Hand over to demo.py."""
    command = [str(python), str(ROOT / "demo.py"), *arguments]
    if os.name == "nt":
        return subprocess.call(command)
    os.execv(python, command)  # the same process: whoever stops run.py stops the demo


def run_tests(python: Path, arguments: list[str]) -> int:
    """Linter, formatter, tests; coverage of the library is demanded of a run of everything only."""
    module = [str(python), "-m"]
    tidy = [subprocess.call([*module, "ruff", *step], cwd=ROOT) for step in (["check"], ["format", "--check"])]
    sys.stdout.flush()
    tested = subprocess.call([*module, "pytest", *(arguments or ["--cov"])], cwd=ROOT)
    if any(tidy):
        print("run.py: ruff has complaints, above the tests; `ruff check --fix` and `ruff format` mend most")
    return tested or max(tidy)


def set_up() -> Path:
    """The Python of an environment that holds everything at the versions of constraints.txt."""
    python = active_environment() or own_environment()
    found = look_inside(python)
    if tuple(found["python"][:2]) not in PYTHONS:
        raise SetupError(
            f"the active environment {found['prefix']} has Python {_dotted(found['python'])}; expected "
            f"{_supported()}. Leave it (`deactivate` or `conda deactivate`) and run.py makes an environment of its own."
        )
    stamp = Path(found["prefix"]) / STAMP
    wanted = {"repository": str(ROOT), "inputs": fingerprint(), "python": found["python"]}
    if not (found["gha"] and found["torch"] and read_stamp(stamp) == wanted):
        install(python, found)
        write_stamp(stamp, wanted)
        found = look_inside(python)
    if not found["cuda"] and has_nvidia_gpu():
        print(
            f"run.py: warning: this machine has an NVIDIA GPU, but PyTorch {found['torch']} here is a CPU build "
            f"and will not use it. To change that: {python} -m pip uninstall -y torch, then run.py again (on Linux); "
            "elsewhere see https://pytorch.org/get-started"
        )
    return python


def active_environment() -> Path | None:
    """The Python of the active virtual or conda environment, or None."""
    if sys.prefix != sys.base_prefix:
        return Path(sys.executable)
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        prefix = os.environ.get(variable)
        if prefix and python_of(Path(prefix), conda=variable == "CONDA_PREFIX").exists():
            return python_of(Path(prefix), conda=variable == "CONDA_PREFIX")
    return None


def own_environment() -> Path:
    """The Python of .venv, made if it is not there or does not work."""
    python = python_of(VENV)
    if python.exists() and subprocess.call([str(python), "-c", ""], stderr=subprocess.DEVNULL) == 0:
        return python
    base = supported_python()
    print(f"run.py: making an environment in {VENV}")
    made = subprocess.run(
        [base, "-m", "venv", "--clear", str(VENV)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if made.returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        raise SetupError(
            f"`{base} -m venv` failed:\n{made.stdout.strip()}\nOn Debian and Ubuntu the module comes by itself: "
            "sudo apt install python3-venv. Or activate a virtual or conda environment and call run.py again."
        )
    return python


def supported_python() -> str:
    """This Python if its version is supported, else one found on the PATH."""
    if sys.version_info[:2] in PYTHONS:
        return sys.executable
    for major, minor in reversed(PYTHONS):
        path = shutil.which(f"python{major}.{minor}")
        # Shims of version managers exist for versions that do not run.
        if path and subprocess.call([path, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            print(f"run.py: this is Python {_dotted(sys.version_info[:3])}; using {path}")
            return path
    raise SetupError(
        f"this is Python {_dotted(sys.version_info[:3])}; expected {_supported()}, and none is on the PATH. "
        "Install one (https://www.python.org/downloads, or your package manager) and call it: python3.11 run.py ..."
    )


def look_inside(python: Path) -> dict:
    """Versions of Python, torch, CUDA and gha in an environment."""
    result = subprocess.run([str(python), "-c", _LOOK_INSIDE], stdout=subprocess.PIPE, text=True)
    if result.returncode != 0:
        raise SetupError(f"{python} does not run (exit code {result.returncode})")
    return json.loads(result.stdout)


def install(python: Path, found: dict) -> None:
    """Install the library, what it needs and the development tools with pip."""
    start = time.perf_counter()
    if not found["pip"] and subprocess.call([str(python), "-m", "ensurepip"]) != 0:
        raise SetupError(
            f"the environment {found['prefix']} has no pip, and ensurepip cannot add it; install pip first"
        )
    constraints = CONSTRAINTS.read_text(encoding="utf-8")
    if found["torch"]:
        require_recent_torch(found["torch"])
        print(f"run.py: keeping PyTorch {found['torch']}")
        constraints = without_torch(constraints)
    elif wants_cpu_wheels(python):
        print(f"run.py: no NVIDIA GPU here: taking PyTorch for the CPU (about 200 MB) from {CPU_WHEELS}")
        pip(python, ["--no-deps", f"torch{torch_pin(constraints)}", "--extra-index-url", CPU_WHEELS])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "constraints.txt"
        path.write_text(constraints, encoding="utf-8")
        pip(python, ["-c", str(path), "-e", ".[dev]"])
    print(f"run.py: installed into {found['prefix']} in {time.perf_counter() - start:.0f} s")


def pip(python: Path, arguments: list[str]) -> None:
    """Run ``pip install``, which shows its own progress, and explain a failure."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", *arguments]
    if subprocess.call(command, cwd=ROOT) == 0:
        return
    if not has_own_index(python) and not answers("https://pypi.org/simple/pip/"):
        raise SetupError(
            "pip failed, and pypi.org cannot be reached from here. Check the network; behind a proxy set HTTPS_PROXY; "
            "with a mirror set PIP_INDEX_URL. Calling run.py again continues."
        )
    raise SetupError(f"pip failed; its reason is above. The command was: {' '.join(command)}")


def wants_cpu_wheels(python: Path) -> bool:
    """Whether to ask PyTorch's own index for a wheel without CUDA, which on PyPI is the only kind for Linux."""
    if not sys.platform.startswith("linux") or has_nvidia_gpu() or has_own_index(python):
        return False
    if answers(f"{CPU_WHEELS}/torch/"):
        return True
    print(
        f"run.py: {CPU_WHEELS} cannot be reached; pip takes what it finds elsewhere, and the PyTorch on PyPI brings "
        "several GB of CUDA libraries"
    )
    return False


def has_own_index(python: Path) -> bool:
    """Whether pip is told to use another index than PyPI, or none; then no public host is added to it."""
    listed = subprocess.run([str(python), "-m", "pip", "config", "list"], stdout=subprocess.PIPE, text=True).stdout
    keys = {line.partition("=")[0].rpartition(".")[2] for line in listed.splitlines()}
    return bool(keys & {"index-url", "no-index"})


def answers(url: str) -> bool:
    """Whether a page can be fetched, within a few seconds."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except (OSError, ValueError):
        return False


def has_nvidia_gpu() -> bool:
    """Whether the NVIDIA driver lists a GPU."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    try:
        listed = subprocess.run(
            [program, "-L"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and "GPU 0" in listed.stdout


def require_recent_torch(version: str) -> None:
    """Refuse a torch older than pyproject.toml asks for: pip would replace it, and it is not ours to replace."""
    minimum = re.search(r'"torch>=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))[1]
    if _numbers(version) < _numbers(minimum):
        raise SetupError(
            f"this environment holds PyTorch {version}; gha needs {minimum} or later. Upgrade it as suits the other "
            "things in this environment, or leave the environment and run.py makes one of its own."
        )


def without_torch(constraints: str) -> str:
    """The constraints without torch and the packages of its CUDA build, which must fit the torch that is kept."""
    own = re.compile(r"torch==|triton==|nvidia-|cuda-", re.I)
    return "".join(line for line in constraints.splitlines(keepends=True) if not own.match(line))


def torch_pin(constraints: str) -> str:
    """``==X`` of torch in the constraints."""
    return re.search(r"^torch(==\S+)", constraints, re.M)[1]


def fingerprint() -> str:
    """A hash of everything that decides what is installed."""
    content = b"".join((ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt"))
    return hashlib.sha256(content).hexdigest()


def read_stamp(path: Path) -> dict | None:
    """What was set up last, or None."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_stamp(path: Path, content: dict) -> None:
    """Remember what was set up; without it the next call asks pip again."""
    try:
        path.write_text(json.dumps(content), encoding="utf-8")
    except OSError as error:
        print(f"run.py: cannot write {path} ({error.strerror}); the next call will set up again")


def python_of(prefix: Path, conda: bool = False) -> Path:
    """Where an environment keeps its Python."""
    if os.name == "nt":
        return prefix / "python.exe" if conda else prefix / "Scripts" / "python.exe"
    return prefix / "bin" / "python"


def _dotted(version: tuple | list) -> str:
    return ".".join(map(str, version))


def _supported() -> str:
    return " or ".join(map(_dotted, PYTHONS))


def _plain(version: str) -> str:
    """A version without its build: 2.13.0+cpu is 2.13.0."""
    return version.partition("+")[0]


def _numbers(version: str) -> tuple:
    """The leading numbers of a version, for comparison."""
    return tuple(int(part) for part in re.findall(r"\d+", _plain(version))[:2])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
