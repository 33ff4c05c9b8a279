# The configuration file as the old README gives it.

import sys

import agentlib
import plugins
import commands.command_list

# Run this file only, and stop.
test_mode = False

# Commands, and the parser that runs them
c = commands.init()
parser = plugins.JsonParser(c)

# Boot: "nova-agent nova-agent.py resetnetwork"
if len(sys.argv) > 1 and sys.argv[1] == "resetnetwork":
    c.command_instance("resetnetwork").resetnetwork_cmd(None)

# The way to the host
xs = plugins.XSComm()

agentlib.register(xs, parser)
