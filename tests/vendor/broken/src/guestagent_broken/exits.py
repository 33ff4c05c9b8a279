"""Tries to take the agent down."""

import sys

sys.exit("exits.py was imported")
