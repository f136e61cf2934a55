"""`discreet agent`: what the device's owner and its operator type."""
