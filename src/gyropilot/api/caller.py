"""Who makes a call, as operations are told."""

from gyropilot.control.entrance import Caller as Caller
