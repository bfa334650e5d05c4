"""Run the command line with ``python -m gluonts_dualkl``."""

from gluonts_dualkl.cli import main

if __name__ == "__main__":
    main()
