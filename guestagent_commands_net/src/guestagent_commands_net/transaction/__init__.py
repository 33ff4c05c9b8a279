"""Files and kernel change together, and there is a way back from each step until the last.

- :mod:`.launching`, :mod:`.worker`: starting the process that does it; that process
- :mod:`.steps`: the steps, and the way back
- :mod:`.deadman`, :mod:`.leftovers`: what takes over when the worker dies; programs that it left behind
- :mod:`.staging`, :mod:`.verify`, :mod:`.rescue`: the files; the kernel compared; the kernel put back
- :mod:`.record`: what is on disk of it
"""

__all__ = ()
