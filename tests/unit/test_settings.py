"""Whatever stands in the settings file or the environment, there are settings or one clear refusal."""

import errno
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postq.errors import SettingsInvalid
from postq.settings import Settings, load_settings

anything = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30),
    st.sampled_from(
        ["", "0", "-1", "nan", "inf", "1e400", "[]", "{}", "null", '["/a"]', "true", "memory://"]
    ),
)
shared = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def load() -> None:
    """Load the settings; a refusal must say what to do, any other error fails the test."""
    hint = "none is needed"
    try:
        load_settings()
    except SettingsInvalid as exc:
        hint = exc.hint
    assert hint


@shared
@given(name=st.sampled_from(sorted(Settings.model_fields)), value=anything)
def test_any_environment_gives_settings_or_one_refusal(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv(f"POSTQ_{name.upper()}", value)
        load()


@shared
@given(content=st.one_of(anything, st.binary(max_size=40), st.builds("{} = {}".format, anything, anything)))
def test_any_settings_file_gives_settings_or_one_refusal(
    content: str | bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "postq.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with monkeypatch.context() as patch:
        patch.setenv("POSTQ_CONFIG", str(file))
        load()


def refusal() -> SettingsInvalid:
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    return refused.value


def test_the_home_of_a_user_who_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTQ_HOME", "~nobody-of-that-name")
    assert refusal().message == "Setting 'home' is not usable: its ~ stands for no folder."


@pytest.mark.parametrize(("lease", "renew"), [("1", "100"), ("20", None), ("inf", "1")])
def test_a_lease_that_could_not_be_renewed_in_time_is_refused(
    lease: str, renew: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTQ_LEASE_SECONDS", lease)
    if renew is not None:
        monkeypatch.setenv("POSTQ_RENEW_SECONDS", renew)
    found = refusal()
    assert "is not usable" in found.message
    assert "lease_seconds" in found.message


@pytest.mark.parametrize("name", ["nope.toml", "."])
def test_a_settings_file_that_was_named_and_is_none_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTQ_CONFIG", str(tmp_path / name))
    assert "There is no settings file" in refusal().message


def test_a_settings_file_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSTQ_CONFIG")
    denied = PermissionError(errno.EACCES, "Permission denied")
    monkeypatch.setattr(Path, "is_file", lambda _: raise_(denied))
    assert refusal().message == "postq.toml cannot be read: Permission denied."


def raise_(error: Exception) -> bool:
    raise error


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("lease_second = 3", "Did you mean 'lease_seconds'?"),
        ('POSTQ_HOME = "/srv"', "Did you mean 'home'?"),
        ("[database]\nurl = 1", "Did you mean 'database_url'?"),
        ("[postq]\nhome = 1", "without a [section]"),
    ],
)
def test_a_setting_that_the_file_misspells_is_told_with_the_one_that_was_meant(
    content: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "postq.toml"
    file.write_text(content)
    monkeypatch.setenv("POSTQ_CONFIG", str(file))
    told = refusal()
    assert "postq has no setting" in told.message
    assert hint in told.hint
