"""The command line: `python -m mock_auth0 --port 8085`, and `python -m mock_auth0 token`."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="python -m mock_auth0")
