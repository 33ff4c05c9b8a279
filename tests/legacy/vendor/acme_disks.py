"""
ACME disk commands
"""

import logging
import os

import commands


class AcmeBase(commands.CommandBase):
    """Things that all of our commands share"""

    def __init__(self, *args, **kwargs):
        super(AcmeBase, self).__init__(*args, **kwargs)
        self.calls = 0

    @commands.command_add('acme.calls')
    def calls_cmd(self, data):
        return (0, str(self.calls))

    def _count(self):
        self.calls += 1


class DiskCommands(AcmeBase):

    @commands.command_add('acme.diskfree')
    def diskfree_cmd(self, data):
        self._count()
        st = os.statvfs(data or '/')
        logging.info("acme: statvfs %s" % data)
        return (0, "%d" % (st.f_bavail * st.f_frsize))

    # Ours says which build it is.
    @commands.command_add('version')
    def version_cmd(self, data):
        import agentlib
        return (0, "%s.77" % agentlib.get_version())
