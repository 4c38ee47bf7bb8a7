"""`retrain.serve`: answers over HTTP, its limits, the page in a browser; nothing is written anywhere."""

import http.client
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import chromium
import numpy as np
import pytest
from PIL import Image

import retrain
from genotypes import UserError
from nas.command import run_command
from retrain.serve.__main__ import main

pytest.importorskip("starlette", reason="needs the extra `serve`: pip install 'sod-nas[serve]'")
pytest.importorskip("uvicorn", reason="needs the extra `serve`")

from retrain.serve import Limits, Server, make_app
from retrain.serve.server import allowed_hosts, is_local

# The map's levels as the page shows them; it may not be fetched, since the page's policy allows its own server alone.
MAP_PIXELS = """
(() => {
  const image = document.querySelector('#map img'), canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  return [...context.getImageData(0, 0, canvas.width, canvas.height).data].filter((_, i) => i % 4 === 0);
})()
"""
DROP = """
(() => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File(['no picture'], 'notes.txt'));
  document.getElementById('drop').dispatchEvent(new DragEvent('drop', {dataTransfer, bubbles: true, cancelable: true}));
})()
"""
LIMITS = Limits(megabytes=0.05, megapixels=0.02, seconds=2)


@pytest.fixture(scope="module")
def predictor(trained):
    return retrain.load(trained / "weights.safetensors")


@pytest.fixture(scope="module")
def server(predictor):
    server = Server(make_app(predictor, "small <net>", LIMITS, allowed_hosts("127.0.0.1")), "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    server.stop()
    thread.join()


@pytest.fixture
def ask(server):
    def ask(method: str, path: str, body=None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        content = answer.status, answer.read()
        connection.close()
        return content

    return ask


def photograph(ending: str = "jpeg", *, orientation: int = 1, size: tuple[int, int] = (90, 60)) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 9, 3), np.uint8)
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(pixels).resize(size).save(file, format=ending, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_photograph_gets_the_map_and_the_cutout_that_predict_makes(ask, predictor, orientation):
    data = photograph(orientation=orientation)
    expected = predictor(data)
    assert expected.size == ((90, 60) if orientation == 1 else (60, 90))  # upright
    (status, saliency), (also, cutout) = ask("POST", "/map", data), ask("POST", "/cutout", data)
    assert status == also == 200
    found = Image.open(io.BytesIO(cutout))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(saliency))), np.asarray(expected))
    assert found.mode == "RGBA" and np.array_equal(np.asarray(found.getchannel("A")), np.asarray(expected))


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"no picture", 415, "as an image: none of the formats that Pillow knows"),
        (photograph("png")[:300], 415, "cannot read the given bytes"),
        (b"", 400, "no photograph was sent"),
        (photograph("png", size=(200, 101)), 413, "200 x 101 pixels are more than 0.02 million"),
        (bytes(60_000), 413, "larger than 0.05 MB"),
        (iter([bytes(30_000)] * 2), 413, "larger than 0.05 MB"),  # its length is not announced
    ],
)
def test_what_is_no_photograph_is_refused_in_words(ask, body, status, message):
    found, text = ask("POST", "/map", body)
    assert (found, message in text.decode()) == (status, True), text


def test_a_form_is_refused_in_words(ask):
    form = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + photograph() + b"\r\n--x--\r\n"
    status, text = ask("POST", "/map", form, Content_Type="multipart/form-data; boundary=x")
    assert status == 415 and b"a form was sent, expected the photograph's bytes alone" in text


def test_a_slow_upload_ends_and_others_go_on(server, ask):
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as slow:
        slow.sendall(b"POST /map HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf")
        assert ask("POST", "/map", photograph())[0] == 200
        assert b"503" in slow.recv(4096).splitlines()[0]
    with socket.create_connection((host, int(port)), timeout=60) as gone:
        gone.sendall(b"POST /map HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf")
    assert ask("POST", "/cutout", photograph())[0] == 200


def test_photographs_are_counted_and_idle_connections_are_not(server, ask):
    """Twenty browsers that were only open locked everybody out."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection((host, int(port)), timeout=60)) for _ in range(25)]
        for one in idle[:12]:  # kept alive after an answer; the others never asked
            one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200" in one.recv(100_000).splitlines()[0]
        assert ask("POST", "/map", photograph())[0] == 200
        for one in idle[-20:]:
            one.sendall(b"POST /map HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf")
        answers = [ask("POST", "/map", photograph()) for _ in range(3)]
        assert (503, b"20 photographs are here already: try again soon") in answers
    assert ask("POST", "/cutout", photograph())[0] == 200


def test_the_page_needs_nothing_from_elsewhere_and_answers_its_own_name_only(ask):
    status, page = ask("GET", "/")
    text = page.decode()
    assert status == 200 and "small &lt;net&gt;" in text and "http" not in text
    assert ask("GET", "/", Host="evil.example")[0] == 400
    assert ask("GET", "/", Host="localhost")[0] == 200
    assert ask("GET", "/map")[0] == 405 and ask("GET", "/../etc/passwd")[0] == 404


def test_who_is_let_in():
    assert is_local("127.0.0.1") and is_local("localhost") and is_local("::1")
    assert not is_local("0.0.0.0") and not is_local("example.org")
    assert allowed_hosts("0.0.0.0") == ["*"] and "*" not in allowed_hosts("127.0.0.1")


def test_user_errors(server, trained, capsys, monkeypatch):
    weights = ["--weights", str(trained / "weights.safetensors")]
    taken = server.url.rpartition(":")[2]
    for words, message in (
        (["--port", taken], f"port {taken}: Address already in use; --port 0"),
        (["--port", "99999"], "--port must be 0 to 65535"),
        (["--host", "203.0.113.1"], "assign requested address; --host is an address of this machine"),
        (["--weights", str(trained)], f"is a folder, expected a weight file, as {trained / 'weights.safetensors'}"),
        (["--limits.seconds", "0"], "limits.seconds must be more than 0"),
        (["--device", "mars"], "device 'mars': expected cpu, cuda, cuda:N or auto"),
    ):
        assert run_command(main, [*weights, *words]) == 2
        assert message in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UserError, match=r"sod-nas\[serve\]"):
        Server(None, "127.0.0.1", 0)


def test_the_command_keeps_nothing_and_ends_by_ctrl_c(tmp_path):
    work, temporary = tmp_path / "work", tmp_path / "tmp"
    work.mkdir()
    temporary.mkdir()
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, "-m", "retrain.serve", "--port", "0"]
    with subprocess.Popen(argv, cwd=work, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            line = run.stdout.readline()
            assert line.startswith("serving sod_s at http://127.0.0.1:"), run.stderr.read()
            connection = http.client.HTTPConnection(line.split("http://")[1].split()[0], timeout=60)
            connection.request("POST", "/cutout", photograph(size=(900, 600)))
            assert connection.getresponse().read().startswith(b"\x89PNG")
            connection.close()
            run.send_signal(signal.SIGINT)
            assert run.wait(60) == 0
        finally:
            run.kill()
        assert run.stderr.read().strip() == "ended"
    assert not list(work.iterdir()) and not list(temporary.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed")
def test_the_page_in_a_browser(server, predictor, tmp_path):
    photo = tmp_path / "cat one.jpeg"
    photo.write_bytes(photograph(orientation=6))
    with chromium.Chromium() as browser:
        for width, dark in ((1280, False), (390, True)):
            browser.open(server.url, width=width, dark=dark)
            assert min(browser.run(chromium.CONTRAST)) >= 4.5
            assert browser.run(chromium.CUT_OFF) == ["INPUT file"]  # seen by nobody, for the label's sake
            browser.choose("#file", photo)
            _wait(browser, "!document.getElementById('pictures').hidden")
            shown = (
                "Promise.all([...document.images].map(i => i.decode().then(() => [i.naturalWidth, i.naturalHeight])))"
            )
            assert browser.run(shown) == [[60, 90]] * 3  # upright, also where the browser shows it
            saved = browser.run("[...document.querySelectorAll('figure a')].map(link => link.download)")
            assert saved == ["cat one_map.png", "cat one_cutout.png"]
            found = np.array(browser.run(MAP_PIXELS), np.uint8).reshape(90, 60)
            assert np.array_equal(found, np.asarray(predictor(photo)))
            assert browser.run(chromium.CUT_OFF) == ["INPUT file"]
            assert browser.run("document.documentElement.scrollWidth") <= width
            browser.picture(Path(os.environ.get("SHOTS", tmp_path)) / f"serve{width}.png")
        assert browser.messages == []
        browser.run(DROP)
        _wait(browser, "document.getElementById('state').classList.contains('wrong')")
        state = browser.run("document.getElementById('state').textContent")
        assert state.startswith("notes.txt: cannot read") and browser.run("document.getElementById('pictures').hidden")


def _wait(browser: chromium.Chromium, condition: str) -> None:
    end = time.monotonic() + 60
    while not browser.run(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.05)
