"""
ACME report: asks other commands
"""

import commands


class ReportCommands(commands.CommandBase):

    def __init__(self, *args, **kwargs):
        self.motd = kwargs.get('motd', None)

    @commands.command_add('acme.report')
    def report_cmd(self, data):
        (code, version) = commands.run_command('version', '')
        (code, features) = commands.run_command('features', '')
        return [0, "%s|%s|%s" % (version, features, self.motd)]

    @commands.command_add('acme.unknown')
    def unknown_cmd(self, data):
        try:
            commands.run_command('acme.no-such', data)
        except commands.CommandNotFoundError as e:
            return (404, "%s (%s)" % (e, e.cmd))
        return (0, "")
