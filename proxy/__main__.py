"""`python -m proxy` is `noetl-edge`."""

from proxy.cli import main

if __name__ == "__main__":
    main()
