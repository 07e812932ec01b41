"""Setting up: constraints.txt, the Makefile and `.ci/run`. Nothing is installed here: what would install is a fake."""

import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PINS = {
    canonicalize_name(name): version
    for name, _, version in (
        line.partition("==") for line in (ROOT / "constraints.txt").read_text().split("\n")
    )
    if version
}
# Stands for an interpreter: writes its arguments to ./calls, and makes itself again where `venv` is asked for.
FAKE_PYTHON = """\
#!/bin/sh
echo "$@" >> calls
if [ "$1 $2" = "-m venv" ]; then mkdir -p .venv/bin && cp "$0" .venv/bin/python; fi
"""
OLD_PYTHON = f"""\
#!/bin/sh
if [ "$1" = --version ]; then echo Python 3.10.9; exit; fi
exec '{sys.executable}' -c "import sys; sys.version_info = (3, 10, 9); $2"
"""
NO_ENSUREPIP = """\
#!/bin/sh
echo "$@" >> calls
case "$*" in "-m venv --clear .venv") exit 1 ;; esac
"""
FAKE_MAKE = """\
#!/bin/sh
echo "$PWD|$*|${TFCLI_DATA-unset}"
exit 7
"""
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def write_program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def needed_by(name: str, extras: frozenset[str]) -> list[Requirement]:
    """What an installed distribution needs here; torch's CUDA libraries, which only some machines get, left out."""
    needed = [Requirement(line) for line in distribution(name).requires or []]
    return [
        requirement
        for requirement in needed
        if (
            requirement.marker is None
            or any(requirement.marker.evaluate({"extra": e}) for e in extras | {""})
        )
        and not (name == "torch" and "platform" in str(requirement.marker))
    ]


def closure(name: str, extras: frozenset[str]) -> set[str]:
    """The names of everything that a distribution needs, directly or not."""
    found: set[str] = set()
    waiting = needed_by(name, extras)
    while waiting:
        requirement = waiting.pop()
        if canonicalize_name(requirement.name) not in found:
            found.add(canonicalize_name(requirement.name))
            waiting += needed_by(requirement.name, frozenset(requirement.extras))
    return found


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    }
    return subprocess.run(["make", *args], cwd=folder, env=clean, capture_output=True, text=True, check=False)


def installs(folder: Path) -> int:
    calls = (folder / "calls").read_text()
    return len(re.findall(r"^-m pip install .*--editable", calls, flags=re.MULTILINE))


def test_constraints_pin_every_dependency_and_torch_to_its_public_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    lines = [*project["build-system"]["requires"], *project["project"]["dependencies"], *extras["dev"]]
    for requirement in map(Requirement, [*lines, *extras["fast"], *extras["tensorboard"], *extras["report"]]):
        assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)]), requirement
    assert PINS["torch"] == "2.13.0"
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in PINS.values())


def test_constraints_hold_the_whole_closure_and_nothing_else() -> None:
    try:
        needed = closure("tfcli", frozenset({"dev", "fast", "tensorboard", "report"}))
    except PackageNotFoundError as error:
        pytest.skip(f"{error}: the dependencies are not all installed")
    assert needed == set(PINS)


def test_a_hook_runs_what_make_lint_runs() -> None:
    lint = re.findall(
        r"^\t\$\(BIN\)/(.+)$", (ROOT / "Makefile").read_text().split("\nlint:")[1].split("\n\n")[0], re.M
    )
    hooks = re.findall(r"entry: \.venv/bin/(.+)", (ROOT / ".pre-commit-config.yaml").read_text())
    assert [line.replace(" --check .", "").removesuffix(" .") for line in lint] == [
        hook.removesuffix(" --force-exclude") for hook in hooks
    ]


@needs_make
def test_make_alone_lists_the_targets(checkout: Path) -> None:
    listed = make(checkout).stdout
    assert re.findall(r"^  make (\w+) ", listed, flags=re.MULTILINE) == [
        "help", "venv", "demo", "test", "lint", "format", "clean",
    ]  # fmt: skip


@needs_make
def test_the_environment_is_installed_once_and_again_when_what_it_depends_on_changes(checkout: Path) -> None:
    python = write_program(checkout / "fake", FAKE_PYTHON)
    for _ in range(2):
        assert make(checkout, "venv", f"PYTHON={python}").returncode == 0
    assert installs(checkout) == 1
    for changed in ("pyproject.toml", "constraints.txt"):
        for name, time in {"pyproject.toml": 1, "constraints.txt": 1, ".venv/.ready": 2, changed: 3}.items():
            os.utime(checkout / name, (time, time))
        assert make(checkout, "venv", f"PYTHON={python}").returncode == 0
    assert installs(checkout) == 3
    assert (checkout / "calls").read_text().count("-m venv") == 1


@needs_make
def test_a_python_that_is_too_old_is_refused_before_anything_is_made(checkout: Path) -> None:
    python = write_program(checkout / "old", OLD_PYTHON)
    result = make(checkout, "demo", f"PYTHON={python}")
    assert result.returncode != 0
    assert f"tfcli needs Python 3.11 or newer; '{python}' is: Python 3.10.9" in result.stderr
    assert "make demo PYTHON=python3.12" in result.stderr
    assert not (checkout / ".venv").exists()


@needs_make
def test_a_python_without_ensurepip_gets_its_pip_from_outside(checkout: Path) -> None:
    python = write_program(checkout / "fake", NO_ENSUREPIP)
    make(checkout, "venv", f"PYTHON={python}")
    calls = (checkout / "calls").read_text()
    assert "-m venv --clear --without-pip .venv\n-m pip --python .venv/bin/python install pip\n" in calls


@pytest.mark.parametrize("with_data", [True, False])
def test_ci_runs_make_test_from_the_root_and_passes_its_exit_code_on(tmp_path: Path, with_data: bool) -> None:
    (tmp_path / "bin").mkdir()
    write_program(tmp_path / "bin/make", FAKE_MAKE)
    (tmp_path / "main/.ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci/run", tmp_path / "main/.ci/run")
    if with_data:
        (tmp_path / "shared/data").mkdir(parents=True)
    write_program(tmp_path / "bin/chromedriver", "#!/bin/sh\n")
    env = {name: value for name, value in os.environ.items() if name != "TFCLI_DATA"}
    env["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{env['PATH']}"
    result = subprocess.run(
        [tmp_path / "main/.ci/run"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    data = str(tmp_path / "shared/data") if with_data else "unset"
    assert (result.returncode, result.stdout) == (7, f"{tmp_path / 'main'}|test|{data}\n")


@pytest.mark.parametrize("apt_works", [True, False])
def test_ci_installs_a_browser_where_there_is_none_and_goes_on_if_it_cannot(
    tmp_path: Path, apt_works: bool
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "main/.ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci/run", tmp_path / "main/.ci/run")
    write_program(tmp_path / "bin/make", FAKE_MAKE)
    write_program(tmp_path / "bin/id", "#!/bin/sh\necho 0\n")
    write_program(
        tmp_path / "bin/apt-get",
        f'#!/bin/sh\necho "$@" >> "{tmp_path}/calls"\nexit {0 if apt_works else 100}\n',
    )
    for tool in ("bash", "sh", "env", "dirname", "timeout"):
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / "bin" / tool).symlink_to(found)
    result = subprocess.run(
        [tmp_path / "main/.ci/run"],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (7, f"{tmp_path / 'main'}|test|unset\n")
    assert ("no Chromium could be installed" in result.stderr) != apt_works
    calls = (tmp_path / "calls").read_text().split("\n")[:-1]
    assert calls[0] == "update"
    assert not apt_works or calls[1] == "install -y --no-install-recommends chromium chromium-driver"


def test_the_readme_names_the_command_that_ci_runs() -> None:
    assert re.search(r"^(\$ |    )?make test$", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
