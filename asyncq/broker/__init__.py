"""The broker: what users hold. It joins a transport and a store with tasks."""

from asyncq.broker.broker import Broker

__all__ = ["Broker"]
