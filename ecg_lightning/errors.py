"""The one exception a user is meant to read."""


class UserError(ValueError):
    """Something the person at the keyboard can mend.

    Its message names the file or key at fault and the remedy. The command lines print it alone, without a
    traceback, and exit with a code that is not 0. It is one line, whatever a library had to say in it.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(" ".join(line.strip() for line in message.splitlines()))
