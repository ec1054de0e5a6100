"""The entry point of `noetl-edge` and of `python -m proxy`."""

import signal


def main() -> None:
    """Run the command line. Until its modules are imported, ctrl-C ends the process without a traceback."""
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from proxy.cli import main as run

    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
