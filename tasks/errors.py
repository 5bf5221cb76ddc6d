"""What a wait for a task ends with that is not the task's end."""


class NoWorker(Exception):
    """Nobody will do what is asked for: no worker has been heard of lately."""


class WaitedInVain(Exception):
    """It did not come about in time, or never will by itself."""


class WaitingEnded(Exception):
    """Who waited for a task wants to no longer; it goes on."""
