"""Prints, as JSON, what kombu and Celery take Redis URLs for: one answer for each case on the standard input."""

import json
import logging
import ssl
import sys

from celery import Celery
from kombu import Connection

logging.disable(logging.CRITICAL)
OPTIONS = ("max_connections", "socket_timeout", "socket_connect_timeout", "socket_keepalive",
           "socket_keepalive_options", "health_check_interval", "retry_on_timeout")


def place(params, nodes):
    if "path" in params:
        return params["path"]
    return ",".join(f"{host}:{port}" for host, port in nodes or [(params["host"], params["port"])])


def meaning(params, nodes):
    tls = "SSL" in params.get("connection_class", str).__name__
    verified = params.get("ssl_cert_reqs") not in (ssl.CERT_NONE, "none")
    return {
        "at": place(params, nodes),
        "db": params.get("db", 0),
        "user": params.get("username") or None,
        "password": params.get("password") or None,
        "tls": ("verified" if verified else "unverified") if tls else None,
    }


def broker(url, use_ssl):
    connection = Connection(url, ssl=use_ssl, transport_options={"master_name": "mine"})
    transport = connection.transport
    channel = transport.Channel.__new__(transport.Channel)
    channel.connection = transport
    for name in OPTIONS:
        setattr(channel, name, None)
    params = channel._connparams()
    nodes = []
    for one in connection.alt:
        other = Connection(one)
        nodes.append((other.hostname, other.port or other.transport.default_port))
    return meaning(params, nodes)


def results(url, use_ssl):
    app = Celery("probe", backend=url, set_as_current=False)
    app.conf.update(redis_backend_use_ssl=use_ssl or None, result_backend_transport_options={"master_name": "mine"})
    params = app.backend.connparams
    return meaning(params, [(host["host"], host["port"]) for host in params.get("hosts", [])])


def answer(read, url, use_ssl):
    try:
        return read(url, use_ssl and dict(use_ssl))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main():
    cases = json.load(sys.stdin)
    json.dump([{"broker": answer(broker, url, use_ssl), "results": answer(results, url, use_ssl)}
               for url, use_ssl in cases], sys.stdout)


main()
