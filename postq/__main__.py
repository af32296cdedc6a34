"""`python -m postq` is the command line."""

from postq.cli.app import main

if __name__ == "__main__":
    main()
