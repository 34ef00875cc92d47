"""Answers each JSON body with itself, on starlette and uvicorn: the least that such a server does. Prints its port."""

import json
import socket

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def echo(request: Request) -> Response:
    return Response(json.dumps(json.loads(await request.body())), media_type="application/json")


if __name__ == "__main__":
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio: no delay for TCP only
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    application = Starlette(routes=[Route("/api/v2", echo, methods=["POST"])])
    config = uvicorn.Config(application, log_level="error", access_log=False, http="httptools", lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])
