"""What is said of scores that mean nothing; apart, so that it is known without PyTorch."""


class ScoresError(ValueError):
    """A network's scores are NaN or infinite, and so mean nothing."""

    def __init__(self) -> None:
        super().__init__("the network's scores are NaN or infinite")
