"""What an embedder installs: wheel, source distribution and editable tree, each in an environment of its own.

They are made of a copy of the sources: a stale `build/` in the tree would bring deleted modules back to life. The
environments see the dependencies that are installed here, but not the project that is.
"""

import email
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import lastresort

from . import packages

pytestmark = pytest.mark.xdist_group("packaging")  # one worker, so that everything is built once

ROOT = Path(__file__).parents[1]
ROOMS = ("domain", "application", "projections", "adapters")


def call(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git knows, or would on `git add`."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout: nothing says which files are sources")
    copy = tmp_path_factory.mktemp("source")
    listing = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in call("git", "-c", "safe.directory=*", *listing, cwd=ROOT).split("\0"):  # no matter who checked it out
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="session")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the source distribution, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="session")
def sdist(built: Path) -> Path:
    return next(built.glob("*.tar.gz"))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Installs what it is given into a fresh environment and returns that environment's programs."""

    def install(*what: str | Path) -> Path:
        home = tmp_path_factory.mktemp("environment")
        call(sys.executable, "-m", "venv", "--without-pip", "env", cwd=home)
        bin = home / "env" / ("Scripts" if sys.platform == "win32" else "bin")
        site = Path(
            call(bin / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip()
        )
        # The path is searched, but .pth files on it are not read, so the project as it is installed here stays out.
        (site / "dependencies.pth").write_text("\n".join({sysconfig.get_path(p) for p in ("purelib", "platlib")}))
        call(
            sys.executable, "-m", "pip", "--python", bin / "python", "install", "--quiet", "--no-index", "--no-deps",
            "--no-build-isolation", "--ignore-installed", "--disable-pip-version-check", *what, cwd=home,
        )  # fmt: skip
        return bin

    return install


@pytest.fixture(scope="session")
def from_wheel(installed: Callable[..., Path], wheel: Path) -> Path:
    return installed(wheel)


@pytest.fixture(scope="session")
def from_sdist(installed: Callable[..., Path], sdist: Path) -> Path:
    return installed(sdist)


@pytest.fixture(scope="session")
def editable(installed: Callable[..., Path], source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree") / "lastresort"
    shutil.copytree(source, tree)
    return installed("--editable", tree)


@pytest.fixture(params=["from_wheel", "from_sdist", "editable"])
def programs(request: pytest.FixtureRequest) -> Path:
    """The programs of each environment in turn."""
    folder: Path = request.getfixturevalue(request.param)
    return folder


def sources(source: Path) -> set[Path]:
    """The modules of the tree: the rooms, and the front door."""
    return {path for room in (*ROOMS, "lastresort") for path in (source / room).rglob("*.py")}


def modules(source: Path) -> set[str]:
    """The same, as they are installed."""
    return {
        path.relative_to(source).as_posix()
        if path.parent == source / "lastresort"
        else f"lastresort/{path.relative_to(source).as_posix()}"
        for path in sources(source)
    }


def data(source: Path) -> set[str]:
    """What is installed beside the modules, and is read by them: templates, words, schemas."""
    declared = tomllib.loads((source / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    folders = {package: source / "/".join(package.split(".")[1:]) for package in declared if package != "*"}
    return {
        f"lastresort/{path.relative_to(source).as_posix()}"
        for package, folder in folders.items()
        for pattern in declared[package]
        for path in folder.glob(pattern)
    }


def test_every_package_of_the_tree_is_installed() -> None:
    """Otherwise run `python -m tests.packages`."""
    assert packages.held() == packages.written()


def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path, source: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"lastresort-{lastresort.__version__}.dist-info"
    marks = {f"lastresort/{room}/py.typed" for room in ROOMS} | {"lastresort/py.typed"}
    described = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt")}
    assert data(source), "nothing is read"
    licences = {f"{info}/licenses/{name}" for name in ("LICENSE", "NOTICE")}
    assert names == modules(source) | data(source) | marks | described | licences


def test_the_source_distribution_builds_the_wheel_by_itself(sdist: Path, source: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {path.relative_to(source).as_posix() for path in sources(source)} <= names
    assert {"LICENSE", "NOTICE", "README.md", "pyproject.toml"} <= names


def test_the_core_requires_pydantic_alone(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    required = email.message_from_bytes(archive.read(metadata)).get_all("Requires-Dist") or []
    always = [re.match(r"[\w.-]+", one) for one in required if "extra ==" not in one]
    assert [found and found[0] for found in always] == ["pydantic"]


def test_every_room_is_imported_from_where_it_was_installed(programs: Path, tmp_path: Path) -> None:
    code = """
import json, lastresort.domain, lastresort.application, lastresort.projections, lastresort.adapters as adapters
rooms = (lastresort.domain, lastresort.application, lastresort.projections, adapters)
print(json.dumps([room.__file__ for room in rooms]))
"""
    files = json.loads(call(programs / "python", "-c", code, cwd=tmp_path))
    assert [Path(file).parent.name for file in files] == list(ROOMS)
    assert not any(Path(file).is_relative_to(ROOT) for file in files)


def test_the_command_line_runs(programs: Path, tmp_path: Path) -> None:
    assert lastresort.__version__ in call(programs / "lastresort", "--version", cwd=tmp_path)
    assert "Usage" in call(programs / "lastresort", "--help", cwd=tmp_path)


def test_an_embedders_own_rooms_do_not_collide(programs: Path, tmp_path: Path) -> None:
    """An application has a `domain` of its own, and so may we."""
    for room in ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text("MINE = True\n")
    (tmp_path / "app.py").write_text(
        "import lastresort.domain, lastresort.application, lastresort.projections, lastresort.adapters\n"
        "import domain, application, projections, adapters\n"
        "assert domain.MINE and application.MINE and projections.MINE and adapters.MINE\n"
        "assert not hasattr(lastresort.domain, 'MINE')\n"
        "assert lastresort.domain.decide is not None\n"
    )
    call(programs / "python", "app.py", cwd=tmp_path)


WITH_PYDANTIC_ALONE = '''
import importlib.metadata, re, sys

def needed(name):
    """A distribution and what it requires, however deep, as import names."""
    requires = importlib.metadata.requires(name) or []
    names = [re.match(r"[\\w.-]+", one)[0] for one in requires if "extra ==" not in one]
    return {name.replace("-", "_")}.union(*map(needed, names))

allowed = needed("pydantic") | sys.stdlib_module_names | {"lastresort"}

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed and not name.startswith("_sysconfigdata"):  # named by platform
            raise ModuleNotFoundError(f"{name} is not installed", name=name)

sys.meta_path.insert(0, Wall())

import lastresort.domain, lastresort.projections
from lastresort.domain import Actor, Conversation, Policy, decide, evolve
from lastresort.domain.commands import StartConversation

me = Actor(kind="user", id="me")
start = StartConversation(id="1", by=me, conversation="c", account=None, policy=Policy.default(), model="m")
assert evolve(Conversation(), decide(start, Conversation()).events[0]).begun
import lastresort.adapters
try:
    from lastresort.adapters import open_conversations
except ModuleNotFoundError as error:
    print(error)

from lastresort.adapters.console import main
try:
    main()
except SystemExit as error:
    print(error.code)
'''


def test_the_core_works_with_pydantic_alone(from_wheel: Path, tmp_path: Path) -> None:
    """What needs more says in one line what to install."""
    done = subprocess.run(
        [from_wheel / "python", "-I", "-c", WITH_PYDANTIC_ALONE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    needs, status = done.stdout.splitlines()
    assert re.fullmatch(
        r"lastresort\.adapters\.open_conversations needs \w+, which is not installed: "
        r"in a clone, pip install -e '\.\[store\]'",
        needs,
    )
    assert (status, done.returncode) == ("2", 0)
    assert done.stderr == (
        "lastresort: the command line needs click, which is not installed: in a clone, pip install -e '.[cli]'\n"
    )


WITH_THE_KIT = '''
import importlib.metadata, os, re, sys
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

def needed(name, extras, found):
    """Every distribution that one requires with these extras, however deep."""
    if (name, extras) not in found:
        found.add((name, extras))
        for one in map(Requirement, importlib.metadata.requires(name) or []):
            if any(one.marker is None or one.marker.evaluate({"extra": extra}) for extra in extras or ("",)):
                needed(canonicalize_name(one.name), tuple(one.extras), found)
    return {name for name, _ in found}

required = needed("lastresort", ("testing",), set())
assert {"hypothesis", "pytest", "eventsourcing", "pydantic"} <= required and "click" not in required, required
distributions = importlib.metadata.packages_distributions()
allowed = {name for name, of in distributions.items() if required & set(map(canonicalize_name, of))}
allowed |= sys.stdlib_module_names | {"lastresort"}

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"{name} is not installed", name=name)

sys.meta_path.insert(0, Wall())

os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # those that happen to be there
import pytest
page, here = sys.argv[1:]
namespace = {"__name__": "__main__"}
for block in re.findall(r"^```python\\n(.*?)^```$", open(page).read(), re.MULTILINE | re.DOTALL):
    exec(block, namespace)
assert namespace["found"].findings
with open("test_mine.py", "w") as file:
    file.write(
        "from lastresort.adapters.testing import ConversationMachine, given\\n"
        "from lastresort.adapters.testing.vocabulary import END, SAID, STARTED\\n"
        "TestMachine = ConversationMachine.TestCase\\n"
        "def test_a_story(conversations): given(STARTED, SAID).when(END).accepted()\\n"
    )
sys.exit(pytest.main(["-q", "-p", "lastresort.adapters.testing.plugin", "-p", "no:cacheprovider", here]))
'''


def test_the_kit_works_with_what_its_extra_requires(from_wheel: Path, tmp_path: Path) -> None:
    """Its page runs, the bug in it is found, and the plugin tells the story of a test that fails."""
    shutil.copy(ROOT / "docs" / "how-to" / "test-your-integration.md", tmp_path)
    command = (from_wheel / "python", "-I", "-c", WITH_THE_KIT, "test-your-integration.md", ".")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, f"{done.stdout}\n{done.stderr}"
    assert "1 failed, 1 passed" in done.stdout, f"{done.stdout}\n{done.stderr}"
    assert "the conversation" in done.stdout
    assert "user: the user speaks" in done.stdout
