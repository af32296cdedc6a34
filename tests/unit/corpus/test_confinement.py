"""Corpora are read below the allowed roots only, whatever the path looks like."""

from pathlib import Path
from typing import Any

import pytest

from postq.corpus.location import locate
from postq.errors import BadInput

ROW = b'{"id": "1", "text": "words"}\n'


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """A folder `inside` with a file, and a file and folder beside it."""
    (tmp_path / "inside" / "deep").mkdir(parents=True)
    (tmp_path / "inside-not").mkdir()
    for name in ("inside/rows.jsonl", "outside.jsonl", "inside-not/rows.jsonl"):
        (tmp_path / name).write_bytes(ROW)
    (tmp_path / "inside" / "link.jsonl").symlink_to(tmp_path / "outside.jsonl")
    return tmp_path


@pytest.mark.parametrize("path", ["inside/rows.jsonl", "inside/deep/../rows.jsonl", "inside"])
def test_places_below_a_root_are_accepted(path: str, places: Path) -> None:
    roots = (str(places / "inside"), "s3://bucket")
    assert locate(str(places / path), roots=roots).path.startswith(str(places / "inside"))
    assert locate(f"file://{places / path}", roots=roots)


@pytest.mark.parametrize(
    "path",
    ["outside.jsonl", "inside/../outside.jsonl", "inside/link.jsonl", "inside-not/rows.jsonl", "absent"],
)
@pytest.mark.parametrize("prefix", ["", "file://", "local://"])
def test_places_outside_are_refused_after_links_and_dots_are_resolved(
    path: str, prefix: str, places: Path
) -> None:
    with pytest.raises(BadInput, match="outside the folders"):
        locate(prefix + str(places / path), roots=(str(places / "inside"),))


def test_a_root_may_itself_be_a_link(places: Path) -> None:
    (places / "root").symlink_to(places / "inside")
    assert locate(str(places / "root" / "rows.jsonl"), roots=(str(places / "root"),))


def test_a_link_inside_a_folder_of_texts_does_not_lead_out(places: Path, read: Any) -> None:
    (places / "outside.txt").write_text("secret words", encoding="utf-8")
    (places / "inside" / "deep" / "link.txt").symlink_to(places / "outside.txt")
    with pytest.raises(BadInput, match="outside the folders"):
        read(places / "inside", roots=(str(places / "inside"),))


@pytest.mark.parametrize(
    ("url", "roots"),
    [
        ("memory://a/x.jsonl", ("/somewhere",)),
        ("memory://ab/x.jsonl", ("memory://a",)),
        ("memory://a/x.jsonl", ("s3://a",)),
    ],
)
def test_urls_outside_the_allowed_prefixes_are_refused(url: str, roots: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="outside the folders"):
        locate(url, roots=roots)


def test_a_local_path_is_refused_when_only_urls_are_allowed(places: Path) -> None:
    with pytest.raises(BadInput, match="outside the folders"):
        locate(str(places / "outside.jsonl"), roots=("memory://a",))


@pytest.mark.parametrize(
    "url",
    [
        "memory://a/../b/x.jsonl",
        "memory://a/%2e%2e/b/x.jsonl",
        "simplecache::memory://a/x.jsonl",
        "zip://x::file:///etc/hosts",
    ],
)
def test_urls_that_hide_their_target_are_always_refused(url: str) -> None:
    for roots in ((), ("memory://a",)):
        with pytest.raises(BadInput, match="cannot be checked"):
            locate(url, roots=roots)
