"""What is not run here, checked for its form: the container file and the compose file. And each item has its test."""

import re

import yaml

from .items_page import ITEMS, named
from .stores import ROOT

FOLDER = ROOT / "deploy"
INSTRUCTIONS = {"FROM", "COPY", "RUN", "USER", "WORKDIR", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT"}


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (FOLDER / "Containerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found = []
    for line in lines:
        name, _, rest = line.partition(" ")
        found.append((name, rest.strip()))
    return found


def test_the_container_file_has_known_instructions_and_runs_as_nobody_s_root() -> None:
    found = instructions()
    assert {name for name, _ in found} == INSTRUCTIONS
    assert found[0][0] == "FROM"
    assert all(rest for _, rest in found)
    names = [name for name, _ in found]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert "--require-hashes" in dict(found[:3])["RUN"]
    assert (ROOT / ".ci" / "requirements.txt").is_file()


def test_the_compose_file_is_one() -> None:
    read = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    assert read.keys() == {"services", "secrets", "volumes"}
    service, database = read["services"]["lastresort"], read["services"]["database"]
    assert (FOLDER / service["build"]["context"] / service["build"]["dockerfile"]).resolve() == FOLDER / "Containerfile"
    assert service["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert set(database["secrets"]) <= read["secrets"].keys()
    assert database["volumes"][0].split(":")[0] in read["volumes"]


def test_every_item_has_a_test_and_no_test_names_another() -> None:
    assert {item for item, _ in named()} == ITEMS.keys()
