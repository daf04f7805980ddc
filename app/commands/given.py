"""What every command begins with: the settings, or one line and exit status 2."""

from app.settings import BadSettings, Settings, load_settings
from tidings.exits import USAGE, fail


def given_settings() -> Settings:
    """Read the settings; a bad one ends the command."""
    try:
        return load_settings()
    except BadSettings as error:
        fail(str(error), USAGE)
