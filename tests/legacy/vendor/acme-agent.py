# Acme Hosting, 2013: our own commands, over XenStore and over a spool directory.

import os

import agentlib
import commands.command_list
import plugins

import acme_disks
import acme_spool

test_mode = 0

registry = commands.init(testmode=False, tmpdir="/var/tmp", motd="/etc/motd")

agentlib.register(plugins.XSComm(), plugins.JsonParser(registry))
agentlib.register(acme_spool.SpoolComm(os.environ["ACME_SPOOL"]), acme_spool.LineParser(registry))
