"""How the hub's HTTP server ends: Tornado on real sockets (integration/hub_image/test_stop.py tests the hub itself)."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from tornado.web import Application, RequestHandler

from jupyterhub_deploy_hub import server as hub_server

SLOW = 0.6  # seconds that an answer takes; clearly more than KEPT_CONNECTIONS_SECONDS
# Seconds in which a server without open requests has ended, also on a busy machine. Less than OPEN_REQUESTS_SECONDS.
FAST = 6
REQUEST = b"GET /%s HTTP/1.1\r\nHost: hub\r\n\r\n"


class Quick(RequestHandler):
    def get(self):
        self.write("quick")


class Slow(RequestHandler):
    async def get(self):
        await asyncio.sleep(SLOW)
        self.write("slow")

    def post(self):
        self.write("posted")


class Endless(RequestHandler):
    """Writes without an end: as a stream of events with a content type, or as a download."""

    async def get(self, content_type):
        self.set_header("Content-Type", content_type)
        while True:
            self.write("data: {}\n\n")
            await self.flush()
            await asyncio.sleep(0.05)


class Stuck(RequestHandler):
    async def get(self):
        await asyncio.Event().wait()


@pytest.fixture
def client():
    """Return a function that connects to a server, sends bytes and returns the socket."""
    opened = []

    def connect(server, sent=b""):
        connection = socket.create_connection(("127.0.0.1", port_of(server)), timeout=10)
        opened.append(connection)
        connection.sendall(sent)
        return connection

    yield connect
    for connection in opened:
        connection.close()


def port_of(server):
    return next(iter(server._sockets.values())).getsockname()[1]


def listening():
    server = hub_server.FinishingServer(
        Application([("/quick", Quick), ("/slow", Slow), ("/endless/(.*)", Endless), ("/stuck", Stuck)])
    )
    server.listen(0, address="127.0.0.1")
    return server


def received(connection):
    """Return all that a server has sent on a connection until it closed it."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


async def answered(connection):
    return (await asyncio.to_thread(connection.recv, 65536)).startswith(b"HTTP/1.1 200")


async def end(server):
    """End the server; return the seconds that it took."""
    began = time.monotonic()
    await server.finish()
    return time.monotonic() - began


def test_a_request_with_a_long_body_is_refused_by_its_header(client):
    async def scenario():
        server = listening()
        length = b"Content-Length: %d\r\n\r\n" % (hub_server.MAX_BODY_BYTES + 1)
        refused = client(server, b"POST /slow HTTP/1.1\r\nHost: hub\r\n" + length)
        return await asyncio.to_thread(refused.recv, 65536)

    assert asyncio.run(scenario()).startswith(b"HTTP/1.1 400 ")


def test_a_request_that_is_only_redirected_is_answered_before_its_body(client):
    class Redirecting(Quick):
        pass

    hub_server.refuse_bodies(Redirecting)

    async def scenario():
        server = hub_server.FinishingServer(Application([("/user/.*", Redirecting)]))
        server.listen(0, address="127.0.0.1")
        head = b"POST /user/x/ HTTP/1.1\r\nHost: hub\r\nContent-Length: 2000000\r\n\r\nx"
        refused, redirected = client(server, head), client(server, REQUEST % b"user/x")
        return await asyncio.to_thread(received, refused), await answered(redirected)

    refused, redirected = asyncio.run(scenario())
    assert refused.startswith(b"HTTP/1.1 405 ")
    assert redirected


def test_a_body_that_does_not_arrive_ends_its_connection(client, monkeypatch):
    monkeypatch.setattr(hub_server, "BODY_SECONDS", 0.2)

    async def scenario():
        server = listening()
        held = client(server, b"POST /slow HTTP/1.1\r\nHost: hub\r\nContent-Length: 100\r\n\r\nx")
        return await asyncio.to_thread(held.recv, 65536)

    assert asyncio.run(scenario()) == b""


def test_connections_in_the_queue_are_answered(client):
    async def scenario():
        server = listening()
        # The loop does not run meanwhile, so these connections wait in the queue of the port.
        waiting = [client(server, REQUEST % b"quick") for _ in range(20)]
        await end(server)
        return waiting

    answers = [received(connection) for connection in asyncio.run(scenario())]
    assert all(answer.endswith(b"quick") for answer in answers)


def test_no_connection_is_accepted_afterwards(client):
    async def scenario():
        server = listening()
        port = port_of(server)
        await end(server)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=10)

    asyncio.run(scenario())


def test_an_open_request_is_answered(client):
    async def scenario():
        server = listening()
        slow = client(server, REQUEST % b"slow")
        seconds = await end(server)
        assert not server.busy
        return slow, seconds

    slow, seconds = asyncio.run(scenario())
    assert SLOW <= seconds < hub_server.OPEN_REQUESTS_SECONDS
    assert received(slow).endswith(b"slow")


def test_a_later_request_on_a_connection_is_answered(client):
    async def scenario():
        server = listening()
        kept = client(server, REQUEST % b"quick")
        assert await answered(kept)
        kept.sendall(REQUEST % b"slow")
        seconds = await end(server)
        return kept, seconds

    kept, seconds = asyncio.run(scenario())
    assert seconds >= SLOW
    assert received(kept).endswith(b"slow")


def test_a_connection_that_arrives_while_the_port_closes_is_not_reset(client, monkeypatch):
    """It gets no answer to its SYN, and finds the port closed when it tries again after a second."""
    monkeypatch.setattr(hub_server, "HANDSHAKE_SECONDS", 0.5)

    async def scenario():
        server = listening()
        port = port_of(server)
        ending = asyncio.create_task(end(server))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port), 10)
        await ending
        return time.monotonic() - began

    assert asyncio.run(scenario()) >= 0.9


def test_a_slow_client_of_a_new_connection_is_answered(client):
    async def scenario():
        server = listening()
        slow = client(server)
        ending = asyncio.create_task(end(server))
        await asyncio.sleep(SLOW)
        slow.sendall(REQUEST % b"quick")
        await ending
        return slow

    assert received(asyncio.run(scenario())).endswith(b"quick")


def test_connections_without_a_request_do_not_delay_the_end(client, monkeypatch):
    """A proxy keeps connections, and some clients have sent nothing for a while, or not all of a header."""
    monkeypatch.setattr(hub_server, "FIRST_REQUEST_SECONDS", SLOW)

    async def scenario():
        server = listening()
        kept = client(server, REQUEST % b"quick")
        assert await answered(kept)
        connections = [kept, client(server), client(server, b"GET /quick HTTP/1.1\r\n")]
        await asyncio.sleep(SLOW)
        return await end(server), connections

    assert asyncio.run(scenario())[0] < FAST


@pytest.mark.parametrize(
    "request_",
    [b"POST /slow HTTP/1.1\r\nHost: hub\r\nContent-Length: 9\r\n\r\nhalf", REQUEST % b"stuck"],
    ids=["half a body", "never answered"],
)
def test_a_request_whose_client_went_away_is_not_counted(client, request_):
    async def scenario():
        server = listening()
        gone = client(server, request_)
        async with asyncio.timeout(10):
            while not server.busy:
                await asyncio.sleep(0.01)
        gone.close()
        return await end(server)

    assert asyncio.run(scenario()) < FAST


def test_a_stream_of_events_does_not_delay_the_end(client):
    async def scenario():
        server = listening()
        stream = client(server, REQUEST % b"endless/text/event-stream")
        assert await answered(stream)
        seconds = await end(server)
        assert await asyncio.to_thread(stream.recv, 10), "the stream ended before the server"
        return seconds

    assert asyncio.run(scenario()) < FAST


def test_an_answer_without_an_end_delays_it_for_a_limited_time(client, monkeypatch):
    monkeypatch.setattr(hub_server, "OPEN_REQUESTS_SECONDS", SLOW)

    async def scenario():
        server = listening()
        download = client(server, REQUEST % b"endless/text/plain")
        assert await answered(download)
        return await end(server)

    assert SLOW <= asyncio.run(scenario()) < SLOW + FAST
