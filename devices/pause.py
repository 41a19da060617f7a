"""What callers hear while nobody serves: a program a problem document, a browser a page for whoever stands before it.

Standard library and this package only, since the launcher speaks through it too.
"""

from __future__ import annotations

import contextlib
import html
import json
import socket

from devices.errors import EdgeKitError, ServeError

_AGAIN_S = 30  # a new server is tried at least as often
_LOOK_S = 5  # a page asks so often whether somebody serves
_CALLER_S = 0.1  # a caller may hold up no more than this: whoever answers here has other work
_STATE = "Nothing is decided meanwhile. The device tries to serve again by itself, at least every half minute."
# the error's own sentences are English, as everywhere; what a person needs at once stands in both languages
_PAGE = """<!doctype html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<noscript><meta http-equiv="refresh" content="{seconds}"></noscript>
<title>设备暂时不能受理 · Out of service for now</title>
<style>
body {{ margin: 0; color: #14202b; background: #f4f6f8;
  font: 18px/1.5 "Noto Sans CJK SC", "Noto Sans SC", "PingFang SC", "Microsoft YaHei", system-ui, sans-serif; }}
main {{ max-width: 44rem; margin: 8vh auto; padding: 1.25rem 1.75rem; background: #fff; border: 2px solid #8a4b00;
  border-radius: 12px; overflow-wrap: anywhere; }}
h1 {{ font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; }}
h1 span {{ display: block; font-size: 1.2rem; color: #4a5866; }}
dt {{ font-weight: 700; margin-top: 1rem; }}
dd {{ margin: 0; }}
p[lang], .small {{ color: #4a5866; }}
</style>
</head>
<body>
<main role="alert">
<h1>设备暂时不能受理 <span lang="en">Out of service for now</span></h1>
<p>目前不会作出任何决定。设备会自己不断重试，恢复后本页自动打开。
若几分钟后仍是本页，请照下面“怎么办”处理，或者把代码告诉技术支持。</p>
<p lang="en">Nothing is decided for now. The device keeps trying, and this page opens by itself when it serves again.
If it stays for minutes, do what is said below, or tell whoever looks after the device the code.</p>
<dl>
<dt>发生了什么 · What happened</dt><dd lang="en">{problem}</dd>
<dt>设备现在 · What the device does now</dt><dd lang="en">{state}</dd>
<dt>怎么办 · What to do</dt><dd lang="en">{remedy}</dd>
</dl>
<p class="small">代码 · Code <code>{code}</code></p>
</main>
<script>
// not reloaded before there is something else to read: whoever reads it, or has it read aloud, is not interrupted
let shown;
setInterval(async () => {{
  const answer = await fetch("", {{ headers: {{ Accept: "text/html" }} }}).catch(() => null);
  const text = answer && (await answer.text());
  if (answer && (answer.status !== 503 || text !== (shown ??= text))) location.reload();
}}, {seconds} * 1000);
</script>
</body>
</html>
"""


def ended_again(why: str) -> ServeError:
    """For callers of a server that ended without a word of its own; ``why`` is what its supervisor saw."""
    return ServeError(
        f"The server ended again and again. {why}",
        remedy="Wait a minute; if it stays so, start the device again. The server's log says more.",
    )


def answer_in_pause(listener: socket.socket, error: EdgeKitError) -> None:
    """Tell one caller why nobody serves, with status 503: ``error``, whose state is that of the device by now."""
    said = {**error.as_problem(503), "state": _STATE}
    with contextlib.suppress(OSError):
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(_CALLER_S)
            if _from_browser(connection):
                sentences = {key: html.escape(str(said[key])) for key in ("problem", "state", "remedy", "code")}
                kind, body = "text/html; charset=utf-8", _PAGE.format(seconds=_LOOK_S, **sentences).encode()
            else:
                kind, body = "application/problem+json", json.dumps(said).encode()
            head = (
                f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: {kind}\r\nRetry-After: {_AGAIN_S}\r\n"
                f"Cache-Control: no-store\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + body)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(65536)  # closing with the request unread would make its sender's system drop the answer


def _from_browser(connection: socket.socket) -> bool:
    """Whether a person asked for a page; a caller who says nothing in time is taken for a program."""
    with contextlib.suppress(OSError):
        request, *fields = connection.recv(65536).lower().split(b"\r\n")
        return request.startswith(b"get ") and any(
            field.startswith(b"accept:") and b"text/html" in field for field in fields
        )
    return False
