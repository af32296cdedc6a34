"""compose.yaml and the Dockerfile: valid, without secrets, without open ports, without root."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from postq.settings import Settings
from tests.integration.compose.composition import VariableMissing, compose, env_file, fill

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "compose.yaml"
OURS = ("migrate", "worker-cpu", "worker-gpu")
PASSWORDS = {"POSTGRES_PASSWORD": "pg-pw", "REDIS_PASSWORD": "redis-pw", "RABBITMQ_PASSWORD": "rabbit-pw"}


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    """The file as it stands, variables not filled in."""
    content: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return content


def seconds(duration: str) -> float:
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    return sum(float(n) * units[unit] for n, unit in re.findall(r"(\d+)(ms|s|m|h)", duration))


def schema() -> dict[str, Any]:
    text = Path(__file__).with_name("compose.schema.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def test_the_file_fits_the_schema(written: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.Draft202012Validator(schema()).validate(written)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("helthcheck", {"test": ["CMD", "true"]}),
        ("restart", "sometimes"),
        ("depends_on", {"postgres": {"condition": "service_ready"}}),
        ("healthcheck", {"test": ["RUN", "true"]}),
        ("stop_grace_period", "60"),
        ("volumes", ["home"]),
    ],
)
def test_the_schema_refuses_mistakes(written: dict[str, Any], where: str, value: Any) -> None:
    broken = json.loads(json.dumps(written))
    broken["services"]["worker-cpu"][where] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema()).validate(broken)


def test_docker_compose_itself_accepts_the_file_where_it_is_installed(tmp_path: Path) -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("the docker compose client is not installed; the schema test above stands in for it")
    environment = tmp_path / "env"
    environment.write_text("".join(f"{name}={value}\n" for name, value in PASSWORDS.items()))
    done = subprocess.run(
        [
            "docker",
            "compose",
            "--file",
            FILE,
            "--env-file",
            environment,
            "--profile",
            "*",
            "config",
            "--quiet",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_services_and_volumes_that_are_named_exist(written: dict[str, Any]) -> None:
    for name, service in written["services"].items():
        assert set(service.get("depends_on", {})) <= set(written["services"]), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).is_file() if source.startswith(".") else source in written["volumes"], (
                volume
            )


def test_a_service_that_others_wait_for_has_a_health_check(written: dict[str, Any]) -> None:
    for service in written["services"].values():
        for name, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in written["services"][name], name


def test_no_port_is_published_beyond_loopback(written: dict[str, Any]) -> None:
    for name, service in written["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} publishes {port}"


def test_no_secret_stands_in_the_file() -> None:
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if re.search(r"^\s*\w*(PASS|PASSWORD|SECRET|TOKEN)\w*:", line):
            assert re.search(r": \$\{\w+:\?", line), line
        assert not re.search(r"://[^:/\s]*:[^$./\s][^@\s]*@(?!rabbitmq:5672)", line), line


@pytest.mark.parametrize("name", PASSWORDS)
def test_a_missing_password_stops_everything_and_says_what_to_run(name: str) -> None:
    given = {key: value for key, value in PASSWORDS.items() if key != name}
    with pytest.raises(VariableMissing, match=f"{name}: run deploy/make-env"):
        compose(FILE, variables=given)


def test_make_env_writes_private_passwords_once_and_they_are_all_the_file_needs(tmp_path: Path) -> None:
    target = tmp_path / ".env"
    command = ["sh", str(ROOT / "deploy" / "make-env"), str(target)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    first = env_file(target)
    assert target.stat().st_mode & 0o777 == 0o600
    assert len({value for value in first.values() if re.fullmatch(r"[0-9a-f]{48}", value)}) == 3
    assert compose(FILE, variables=first).environment("redis")["REDIS_PASSWORD"] == first["REDIS_PASSWORD"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
    assert env_file(target) == first


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_without_rights_on_a_read_only_root(name: str) -> None:
    service = compose(FILE, variables=PASSWORDS).services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_our_services_are_settings_postq_knows(name: str) -> None:
    environment = compose(FILE, variables=PASSWORDS).environment(name)
    given = {key.removeprefix("POSTQ_").lower(): value for key, value in environment.items()}
    settings = Settings(**given)
    assert settings.resolved_database_url.get_secret_value().endswith("postq:pg-pw@postgres:5432/postq")
    assert settings.broker_url.get_secret_value() == "redis://:redis-pw@redis:6379/0"


@pytest.mark.parametrize("name", ["worker-cpu", "worker-gpu"])
def test_a_draining_worker_is_given_longer_than_its_own_grace(name: str) -> None:
    composition = compose(FILE, variables=PASSWORDS)
    drain = float(composition.environment(name)["POSTQ_DRAIN_SECONDS"])
    assert seconds(composition.services[name]["stop_grace_period"]) >= drain + 15


def test_the_gpu_worker_reserves_a_device_and_starts_only_when_asked(written: dict[str, Any]) -> None:
    service = written["services"]["worker-gpu"]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "device_ids": ["0"], "capabilities": ["gpu"]}
    assert service["profiles"] == ["gpu"]
    assert service["command"][-1] == "cuda:0"


def test_redis_keeps_an_append_only_file() -> None:
    assert re.search(r"^appendonly yes$", (ROOT / "deploy" / "redis.conf").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("$$HOME", "$HOME"),
        ("a-$X-b", "a-1-b"),
        ("${X}${Y:-two}", "1two"),
        ("${Y:-amqp://${X:?no}@h}/z", "amqp://1@h/z"),
        ("plain", "plain"),
    ],
)
def test_variables_are_filled_in_as_compose_does(text: str, filled: str) -> None:
    assert fill(text, {"X": "1"}) == filled


def dockerfile_stages() -> list[list[tuple[str, str]]]:
    """Instructions of each stage as (word, rest), continuation lines joined, comments dropped."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    stages: list[list[tuple[str, str]]] = []
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, re.sub(r"\s+", " ", rest)))
    return stages


def test_the_image_ends_in_a_stage_without_root_or_pip_and_with_the_compiler_that_triton_needs() -> None:
    build, final = dockerfile_stages()
    assert final[0] == ("FROM", "python:3.11-slim")
    last_user = [rest for word, rest in final if word == "USER"][-1]
    assert last_user == "10001:10001"
    assert not any(re.search(r"\bpip", rest) for word, rest in final if word == "RUN")
    installs = [rest for word, rest in final if word == "RUN" and "apt-get install" in rest]
    assert len(installs) == 1
    assert re.search(r"--no-install-recommends gcc libc6-dev &&", installs[0])
    assert any("pip uninstall" in rest for word, rest in build if word == "RUN")
    assert all("--from=build" in rest for word, rest in final if word == "COPY")


def test_image_and_compose_file_agree_on_home_command_and_health_check(written: dict[str, Any]) -> None:
    final = dockerfile_stages()[-1]
    facts = {word: rest for word, rest in final if word in ("CMD", "HEALTHCHECK", "WORKDIR")}
    worker = written["services"]["worker-cpu"]
    assert json.loads(facts["CMD"]) == worker["command"]
    assert json.loads(facts["HEALTHCHECK"].partition("CMD ")[2]) == worker["healthcheck"]["test"][1:]
    environment = dict(word.split("=", 1) for w, rest in final if w == "ENV" for word in shlex.split(rest))
    assert environment["POSTQ_HOME"] == worker["environment"]["POSTQ_HOME"] == facts["WORKDIR"]
    assert worker["volumes"] == [f"home:{facts['WORKDIR']}"]


def test_everything_the_image_copies_is_in_the_checkout_and_in_the_build_context() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for word, rest in dockerfile_stages()[0]:
        if word == "COPY":
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert source in allowed, source
