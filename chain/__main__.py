"""`python -m chain` is the command `chain`."""

from chain.cli import main

if __name__ == "__main__":
    main()
