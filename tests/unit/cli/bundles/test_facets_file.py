"""Files of label facets: the forms people write are read, everything else is refused in two sentences."""

import json
from pathlib import Path

import pytest

from postq.cli.bundles.facets_file import MOST_BYTES, read_facets
from postq.contracts.facets import MOST_LABELS, Facets
from postq.errors import BadInput

ROOT = Path(__file__).resolve().parents[4]


def written(folder: Path, text: str, name: str = "facets.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_the_example_in_the_documents_is_read() -> None:
    found = read_facets(ROOT / "docs" / "facets.yaml")
    assert found.facet_names == ("motion", "proceeding", "stage")
    narrow = "Motion to Dismiss for Lack of Standing"
    assert found.ancestors()[narrow] == {"Motion to Dismiss"}


def test_the_ontology_of_the_synthetic_corpus_is_read_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    found = read_facets(ROOT / "postq" / "corpus" / "synthetic" / "ontology.yaml")
    assert len(found.labels) == 41
    assert sum(bool(each.parents) for each in found.labels) == 4
    assert "not read: documents, stages, with_parent" in " ".join(capsys.readouterr().err.split())


SHORT = """
version: 1
facets: [stage, motion]
labels:
  On Appeal: {n: 9197, f: stage, g: appellate}
  Dismiss: {f: motion}
  Dismiss Standing: {f: [motion, stage], is_a: Dismiss, p_parent: 0.139}
"""


def test_short_keys_long_keys_lists_and_json_say_the_same(tmp_path: Path) -> None:
    short = read_facets(written(tmp_path, SHORT))
    long = {
        "labels": [
            {"name": "On Appeal", "facets": "stage", "group": "appellate"},
            {"name": "Dismiss", "facet": ["motion"]},
            {"name": "Dismiss  Standing", "facets": ["motion", "stage"], "parents": ["Dismiss"]},
        ]
    }
    assert read_facets(written(tmp_path, json.dumps(long), "facets.json")) == short
    assert short.names == ("On Appeal", "Dismiss", "Dismiss Standing")
    assert Facets.model_validate_json(short.model_dump_json()) == short


def nested(levels: int) -> str:
    return "labels: " + "[" * levels + "]" * levels


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no `labels:`"),
        ("labels: {}", "has no `labels:`"),
        ("- a\n- b", "has no `labels:`"),
        ("labels: [a, b]", "has no `name:`"),
        ("labels: {a: {f: x}, a: {f: y}}", "'a' is there twice"),
        ("labels: [{name: a}, {name: ' a'}]", "'a' is there twice"),
        ("labels: {a: {parent: b}}", "'b', the parent of 'a', is itself no label of the file"),
        ("labels: {a: {parent: a}}", "the parents run in a circle: a → a"),
        ("labels: {a: {parent: b}, b: {parent: c}, c: {parent: b}}", "in a circle: b → c → b"),
        ("labels: {no: {f: x}}", "a label is read as bool and not as text"),
        ("labels: {2024: {f: x}}", "a label is read as int and not as text"),
        ("labels: {a: {f: [x, [y]]}}", "a facet, group or parent of 'a' is no name"),
        ("labels: {a: {f: 3}}", "a facet, group or parent of 'a' is no name"),
        ("labels: {a: 3}", "neither a name nor a table"),
        ("labels: {a: {f: x, facet: y}}", "has both `facet` and `f`"),
        ("facets: [stage]\nlabels: {a: {f: stagee}}", "facet 'stagee', which `facets:` does not list"),
        ("facets: stage\nlabels: {a: {f: stage}}", "`facets:` is not a list"),
        ("labels: {a: [", "is not YAML or JSON, line 1"),
        ("labels: !!python/object/apply:os.system [ls]", "is not YAML or JSON"),
        (nested(3000), "is not YAML or JSON"),
        ("labels: {'" + "a" * 501 + "': stage}", "at most 500 characters"),
        (
            "labels:\n" + "".join(f"  l{at}: s\n" for at in range(MOST_LABELS + 1)),
            f"at most {MOST_LABELS} items",
        ),
        ("labels: {a: [" + ", ".join(f"f{at}" for at in range(21)) + "]}", "at most 20 items"),
        ("x: " + "a" * MOST_BYTES, "is larger than 1 MiB"),
    ],
    ids=lambda value: value[:40].replace("\n", " ") if isinstance(value, str) else None,
)
def test_what_cannot_be_used_is_refused_with_a_reason(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_facets(written(tmp_path, text))
    assert says in str(refused.value)
    assert refused.value.hint


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_facets(tmp_path / "missing.yaml")
    with pytest.raises(BadInput, match="cannot be read"):
        read_facets(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00labels")
    with pytest.raises(BadInput, match="not YAML or JSON"):
        read_facets(tmp_path / "binary.yaml")


def slow_ancestors(parents: dict[str, tuple[str, ...]], label: str) -> set[str]:
    return set(parents[label]).union(*(slow_ancestors(parents, above) for above in parents[label]))


def test_broader_labels_are_found_however_far_up(tmp_path: Path) -> None:
    chain = "".join(
        f"  l{at}: {{parents: [{', '.join(f'l{up}' for up in (at // 2, at // 3) if up != at)}]}}\n"
        for at in range(1, 40)
    )
    found = read_facets(written(tmp_path, "labels:\n  l0: {}\n" + chain))
    parents = {each.label: each.parents for each in found.labels}
    assert found.ancestors() == {label: slow_ancestors(parents, label) for label in parents}
    deep = "labels:\n  l0: {}\n" + "".join(f"  l{at}: {{is_a: l{at - 1}}}\n" for at in range(1, 3000))
    assert len(read_facets(written(tmp_path, deep)).ancestors()["l2999"]) == 2999
