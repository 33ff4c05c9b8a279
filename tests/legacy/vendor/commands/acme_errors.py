"""
ACME failing commands, for the monitoring of the monitoring
"""

import commands


class ErrorCommands(commands.CommandBase):

    @commands.command_add('acme.fail')
    def fail_cmd(self, data):
        raise Exception("disk on fire: %s" % data)

    @commands.command_add('acme.code')
    def code_cmd(self, data):
        return (data['code'], data['message'])

    @commands.command_add('acme.nothing')
    def nothing_cmd(self, data):
        pass
