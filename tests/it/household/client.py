"""What the users of aria2p do: client.py HOST PORT LINK SECONDS EVERY SECRET...

Makes its calls with each secret, and listens to the news for SECONDS with the last one, while it asks for a download
EVERY so many seconds. Says how many downloads it was told of from beginning to end.
"""

import os
import sys
import time
import traceback

import aria2p


def main(host, port, link, seconds, every, *secrets):
    for secret in secrets:
        client = aria2p.Client(host, int(port), secret, timeout=10)
        calls(client, link)
    listen(aria2p.API(client), link, float(seconds), float(every))


def calls(client, link):
    api = aria2p.API(client)
    assert client.get_version()["version"], "no version"
    assert "aria2.addUri" in client.list_methods()

    download = api.add_uris([link], {"pause": "true"})
    assert download.is_paused, download.status
    status, version = client.multicall2(
        [(client.TELL_STATUS, [download.gid, ["gid"]]), (client.GET_VERSION, [])]
    )
    assert status == [{"gid": download.gid}], status
    assert version[0]["version"], version
    paused, waiting = client.batch_call([(client.PAUSE_ALL, [], "a"), (client.TELL_WAITING, [0, 9, ["gid"]], "b")])
    assert (paused, waiting) == ("OK", [{"gid": download.gid}]), (paused, waiting)
    assert api.remove([download]) == [True]
    try:
        client.change_global_option({"dir": "/"})
        raise AssertionError("it may do everything")
    except aria2p.ClientException as refused:
        assert refused.code == -32010, refused
        assert "needs the role admin" in str(refused), refused


def listen(api, link, seconds, every):
    """Downloads small files for that long, and at least until the news of one were heard whole."""
    heard = {"start": set(), "complete": set()}
    api.listen_to_notifications(
        threaded=True,
        timeout=0.3,
        on_download_start=lambda _, gid: heard["start"].add(gid),
        on_download_complete=lambda _, gid: heard["complete"].add(gid),
    )
    begin = time.monotonic()
    asked = []
    # What was asked for before the WebSocket was open is news to nobody.
    # Of one that was under way just then, only the end is.
    while not heard["start"] & heard["complete"] or time.monotonic() < begin + seconds:
        assert time.monotonic() < begin + seconds + 10, "nothing is told"
        asked.append(api.add_uris([link], {"allow-overwrite": "true"}).gid)
        time.sleep(every if heard["complete"] else 0.1)
    wanted = set(asked[asked.index(next(gid for gid in asked if gid in heard["start"])) :])
    while not (wanted <= heard["start"] and wanted <= heard["complete"]):
        assert time.monotonic() < begin + seconds + 15, (wanted, heard)
        time.sleep(0.1)
    api.stop_listening()
    print(len(wanted))


try:
    main(*sys.argv[1:])
except BaseException:
    # The thread that listens would keep a failure waiting.
    traceback.print_exc()
    sys.stderr.flush()
    os._exit(1)
