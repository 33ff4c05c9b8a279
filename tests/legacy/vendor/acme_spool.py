"""
ACME spool exchange: one file per request in <spool>/in, the answer in <spool>/out.
A request is a line "command argument".
"""

import os


class SpoolComm(object):

    def __init__(self, spool):
        self.request_dir = os.path.join(spool, "in")
        self.response_dir = os.path.join(spool, "out")

    def get_request(self):
        for name in sorted(os.listdir(self.request_dir)):
            if name.startswith('.'):
                continue
            f = open(os.path.join(self.request_dir, name))
            data = f.read()
            f.close()
            return {'path': os.path.join(self.request_dir, name), 'data': data}
        return None

    def put_response(self, request, response):
        name = os.path.basename(request['path'])
        os.unlink(request['path'])
        tmp = os.path.join(self.response_dir, '.' + name)
        f = open(tmp, 'w')
        f.write(response['data'] + '\n')
        f.close()
        os.rename(tmp, os.path.join(self.response_dir, name))


class LineParser(object):

    def __init__(self, commands):
        self.commands = commands

    def encode_result(self, result):
        return {'data': '%s %s' % result}

    def parse_request(self, request):
        name, _, argument = request['data'].strip().partition(' ')
        try:
            return self.encode_result(self.commands.run_command(name, argument))
        except self.commands.CommandNotFoundError as e:
            return self.encode_result((404, str(e)))
        except Exception as e:
            return self.encode_result((500, str(e)))
