"""`make`, the README and CI name the same verbs, and each verb finds what it runs."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
VERBS = re.findall(r"^\.PHONY: ([\w-]+)$", MAKEFILE, re.MULTILINE)


def make(*arguments: str) -> str:
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_make_alone_lists_every_verb_with_one_line() -> None:
    lines = [line.split(maxsplit=2) for line in make().splitlines()]
    assert [line[1] for line in lines] == VERBS
    assert all(len(line) == 3 and line[2] for line in lines)


@pytest.mark.parametrize("verb", ["demo", "docs", "bench", "nemesis"])
def test_the_program_a_verb_runs_is_there(verb: str) -> None:
    recipe = make("--dry-run", "--always-make", verb)
    scripts = re.findall(r"bin/python (?!-)(\S+\.py)", recipe)
    modules = [
        name.replace(".", "/") + ".py"
        for name in re.findall(r"bin/python -m ((?:tests|benchmarks)\.\S+)", recipe)
    ]
    assert scripts + modules
    assert [name for name in scripts + modules if not (ROOT / name).is_file()] == []


def test_demo_and_test_build_their_own_environment_from_pinned_versions() -> None:
    for verb in ("demo", "test"):
        recipe = make("--dry-run", "--always-make", verb, "VENV=some-venv")
        assert "python3 -m venv some-venv" in recipe
        assert "--constraint constraints.txt --editable '.[dev]'" in recipe


def test_the_two_commands_of_the_readme_are_verbs_and_ci_runs_the_second() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^make (\w+) ", readme, re.MULTILINE) == ["demo", "test"]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.search(r"^make .*\btest\b", script.splitlines()[-1])


def test_an_audit_scans_for_secrets_and_fails_when_it_could_not_look_a_dependency_up() -> None:
    recipe = make("--dry-run", "--always-make", "audit")
    assert "tests/unit/test_packaging.py -k key_or_access_token" in recipe
    assert "pip-audit --strict" in recipe
    secrets = (ROOT / "tests" / "unit" / "test_packaging.py").read_text(encoding="utf-8")
    assert "key_or_access_token" in secrets
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.search(r"if advisories_answer .*\n(?:.*\n)?.* audit VENV", script)


def test_the_ci_script_is_executable_and_well_formed() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
