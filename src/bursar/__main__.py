"""Run the command line as a module: `python -m bursar`."""

from bursar.cli import main

if __name__ == "__main__":
    main()
