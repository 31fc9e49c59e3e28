"""What the `planb` program runs first."""

import signal


def main() -> int:
    """As `cli.main.main`; but Ctrl-C while it is still being imported, which takes a second or more where the machine
    is busy, ends it as it ends any program: without a trace, and surely. Python's own handler raises wherever it
    happens to be, also where whatever is raised is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cli.main import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return run()
