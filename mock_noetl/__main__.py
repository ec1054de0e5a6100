"""The command line: `python -m mock_noetl --port 8082`."""

from mock_noetl.cli import main

if __name__ == "__main__":
    main(prog_name="python -m mock_noetl")
