"""`python -m cadnode` is the `cadnode` command."""

from cadnode.cli import main

if __name__ == "__main__":
    main()
