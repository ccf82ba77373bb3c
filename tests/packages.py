"""The packages that are installed, as pyproject.toml lists them. `python -m tests.packages` writes them there."""

from .house import ROOMS, ROOT

PROJECT = ROOT / "pyproject.toml"
BEGIN, END = "# packages: begin (python -m tests.packages)\n", "# packages: end\n"


def folders() -> dict[str, str]:
    """Return each package of the tree and the folder that it is in, the front door first."""
    inside = (path.parent for room in ROOMS for path in sorted((ROOT / room).rglob("__init__.py")))
    names = ("/".join(folder.relative_to(ROOT).parts) for folder in inside)
    return {"lastresort": "lastresort"} | {f"lastresort.{name.replace('/', '.')}": name for name in sorted(names)}


def written() -> str:
    """Return the block that pyproject.toml should hold."""
    listed = "".join(f'    "{package}",\n' for package in folders())
    mapped = "".join(f'"{package}" = "{folder}"\n' for package, folder in folders().items())
    return f"{BEGIN}packages = [\n{listed}]\n\n[tool.setuptools.package-dir]\n{mapped}{END}"


def held() -> str:
    """Return the block that pyproject.toml holds."""
    text = PROJECT.read_text()
    return text[text.index(BEGIN) : text.index(END) + len(END)]


if __name__ == "__main__":
    PROJECT.write_text(PROJECT.read_text().replace(held(), written()))
