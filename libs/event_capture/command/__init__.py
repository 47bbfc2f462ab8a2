"""The command `streamproof`."""


def main() -> None:
    """Run the command."""
    from event_capture.command.app import run

    run()


__all__ = ["main"]
