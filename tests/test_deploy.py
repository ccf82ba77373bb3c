"""What is not run here, checked for its form: the container file and the compose file. And each item has its test."""

import re

import yaml

from .items_page import ITEMS, named
from .stores import ROOT

FOLDER = ROOT / "deploy"
INSTRUCTIONS = {"FROM", "COPY", "RUN", "USER", "WORKDIR", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT"}


def instructions(name: str = "Containerfile") -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (FOLDER / name).read_text())
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


def test_the_compose_file_of_a_quorum_has_three_nodes_that_find_each_other() -> None:
    read = yaml.safe_load((FOLDER / "quorum.yaml").read_text())
    services = read["services"]
    assert services.keys() == {f"{kind}-{one}" for kind, names in (("etcd", "123"), ("node", "abc")) for one in names}
    for name, service in services.items():
        assert service["volumes"][0].partition(":")[0] in read["volumes"]
        environment = service["environment"]
        if name.startswith("node-"):
            assert environment["PATRONI_NAME"] == name[-1]
            assert environment["PATRONI_POSTGRESQL_CONNECT_ADDRESS"] == f"{name}:5432"
            assert environment["PATRONI_RESTAPI_CONNECT_ADDRESS"] == f"{name}:8008"
            assert {host.partition(":")[0] for host in environment["PATRONI_ETCD3_HOSTS"].split(",")} <= services.keys()
            assert (FOLDER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        else:
            members = dict(one.split("=") for one in environment["ETCD_INITIAL_CLUSTER"].split(","))
            assert members[name] == environment["ETCD_INITIAL_ADVERTISE_PEER_URLS"] == f"http://{name}:2380"
    found = instructions("Containerfile.node")
    assert {name for name, _ in found} <= INSTRUCTIONS
    assert all(rest for _, rest in found)


def test_the_settings_of_a_quorum_wait_for_a_standby_and_strictly() -> None:
    shared = yaml.safe_load((FOLDER / "patroni.yaml").read_text())["bootstrap"]["dcs"]
    assert (shared["synchronous_mode"], shared["synchronous_mode_strict"], shared["synchronous_node_count"]) == (
        *("quorum", True, 1),
    )
    assert shared["loop_wait"] + 2 * shared["retry_timeout"] <= shared["ttl"]
    parameters = shared["postgresql"]["parameters"]
    assert [parameters[name] for name in ("synchronous_commit", "fsync", "full_page_writes")] == ["on"] * 3


def test_every_item_has_a_test_and_no_test_names_another() -> None:
    assert {item for item, _ in named()} == ITEMS.keys()
