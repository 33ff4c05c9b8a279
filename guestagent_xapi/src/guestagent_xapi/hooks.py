"""The hooks plugin ``xapi``: starts and ends the publisher with the agent."""

from __future__ import annotations

import logging

from guestagent_core import Context
from guestagent_core.agent import Agent
from guestagent_core.hookspecs import hookimpl
from guestagent_xen.connecting import default_path

from .publisher import Publisher, PublisherOptions

__all__ = ("XapiHooks",)

_log = logging.getLogger(__name__)


class XapiHooks:
    """Lets the host see what the guest is, as long as the agent runs in a guest that has a XenStore."""

    Options = PublisherOptions

    def __init__(self, options: PublisherOptions) -> None:
        self._options = options
        self._publisher: Publisher | None = None

    @hookimpl
    def startup(self, agent: Agent) -> None:
        """Starts the publisher."""
        if not self._options.publish:
            return
        if (self._options.path or default_path()) is None:
            _log.info("There is no way to XenStore here, so nothing is published")
            return
        publisher = Publisher(self._options, Context(agent.places["root"]).path, agent.publications.values)
        agent.publications.publish_by(publisher.services_changed)
        publisher.start()
        self._publisher = publisher

    @hookimpl
    def shutdown(self, agent: Agent) -> None:
        """Ends it; what is published stays."""
        if self._publisher is not None:
            agent.publications.publish_by(None)
            self._publisher.stop()
            self._publisher = None
