"""The one error that is a user's to mend."""


class UserError(ValueError):
    """A value, file or option that cannot be used: its message is one line that names the value and the remedy.

    The command line prints the message alone and exits with status 2; everything else that is raised is a defect.
    """
