"""The main job on a synthetic corpus, start to end, through the real command line and real workers."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo.journey import Journey, Sizes
from demo.stage import Stage, StepFailed


def options() -> argparse.Namespace:
    """The demo's flags."""
    parser = argparse.ArgumentParser(description=__doc__, prog="make demo ARGS=…")
    parser.add_argument("--documents", type=int, default=600, help="documents to begin with (default 600)")
    parser.add_argument("--new-documents", type=int, default=40, help="documents of the second version")
    parser.add_argument("--median-words", type=int, default=600, help="median length of a document")
    parser.add_argument("--seed", type=int, default=7, help="seed of corpus and trainings")
    parser.add_argument("--home", type=Path, default=Path("demo-home"), help="folder of the demo's own")
    parser.add_argument("--keep", action="store_true", help="go on in the home folder of an earlier demo")
    parser.add_argument("--temporary", action="store_true", help="use a folder that is removed at the end")
    return parser.parse_args()


def main() -> int:
    """Run the journey; 0 only if every job ended as it should."""
    given = options()
    home = Path(tempfile.mkdtemp(prefix="postq-demo-")) if given.temporary else given.home.absolute()
    if home.exists() and not given.keep:
        _clear(home)
    home.mkdir(parents=True, exist_ok=True)
    sizes = Sizes(
        documents=given.documents,
        new_documents=given.new_documents,
        median_words=given.median_words,
        seed=given.seed,
    )
    try:
        with Stage(home) as stage:
            return Journey(stage, sizes).run()
    except StepFailed as exc:
        print(f"\nThe demo stopped: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; the workers were drained.", file=sys.stderr)
        return 130
    finally:
        if given.temporary:
            shutil.rmtree(home, ignore_errors=True)


def _clear(home: Path) -> None:
    """Begin afresh, but never in a folder that is not a demo's."""
    if any(home.iterdir()) and not (home / Stage.MARK).exists():
        sys.exit(f"{home} is not empty and not of an earlier demo; give another --home.")
    shutil.rmtree(home)


if __name__ == "__main__":
    sys.exit(main())
