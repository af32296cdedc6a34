"""Whatever stands in the settings file or the environment, there are settings or one clear refusal."""

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
