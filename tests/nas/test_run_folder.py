"""A run's folder: one process at a time, nothing left of killed ones, checkpoints whole whatever comes."""

import os
import signal

import pytest
import torch

from genotypes import UserError, UserNote
from nas.command import run_command
from nas.run import RunFolder, check_free, load_checkpoint, save_checkpoint
from nas.run import folder as folder_module
from nas.run_files import environment_of

fcntl = pytest.importorskip("fcntl")


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path):
    run = RunFolder.open(str(tmp_path / "a"), "search", "")
    RunFolder.open(str(tmp_path / "a"), "search", "", resume=True)  # in the same process: it goes on with its own
    other = os.open(tmp_path / "a", os.O_RDONLY)  # as another process holds it
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    run.close()
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with pytest.raises(UserError, match="another process works on this run"):
        RunFolder.open(str(tmp_path / "a"), "search", "", resume=True)
    with pytest.raises(UserError, match="another process works on this run"):  # commands ask before they read anything
        check_free(str(tmp_path / "a"), resume=True)
    os.close(other)  # however it ended
    check_free(str(tmp_path / "a"), resume=True)  # which keeps nothing
    again = os.open(tmp_path / "a", os.O_RDONLY)
    fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(again)
    RunFolder.open(str(tmp_path / "a"), "search", "", resume=True).close()


def test_a_file_system_without_locks_will_do(tmp_path, monkeypatch):
    def refuse(handle, how):
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr("fcntl.flock", refuse)
    RunFolder.open(str(tmp_path / "a"), "search", "").close()


def test_what_a_run_of_many_trainings_is_of_may_not_change(tmp_path):
    run = RunFolder.open(str(tmp_path / "a"), "gate", "")
    run.agree({"space": "1", "set of photographs": "2 (ab)"})
    run.agree({"set of photographs": "2 (ab)"})
    with pytest.raises(UserError, match=r"a began with another set of photographs: 2 \(ab\) then, 2 \(cd\) now"):
        run.agree({"set of photographs": "2 (cd)"})
    run.agree({"content of init": "5"})  # of a part that was not there before
    with pytest.raises(UserError, match="a began with another content of init: 5 then, 6 now"):
        run.agree({"set of photographs": "2 (ab)", "content of init": "6"})
    for text in ("{", "3", '"x"'):
        run.write_text("identity.json", text)
        with pytest.raises(UserError, match=r"identity\.json: not what this program writes"):
            run.agree({"space": "1"})


def test_a_checkpoint_that_is_gone_is_told(tmp_path):
    """The run began again without a word; it ends the same, hours later."""
    run = RunFolder.open(str(tmp_path / "a"), "search", "")
    assert run.load() is None
    run.record({"step": 1})
    with pytest.warns(UserNote, match=r"a: there is no checkpoint\.pt beside history\.csv, so the run begins again"):
        assert run.load() is None
    run.close()


def test_what_killed_runs_were_writing_is_cleared(tmp_path):
    left = tmp_path / "a/.config.yaml.123.tmp"
    left.parent.mkdir()
    left.touch()
    check_free(tmp_path / "a")  # killed before it had written anything
    RunFolder.open(str(tmp_path / "a"), "search", "seed: 1\n").close()
    assert not left.exists()
    (tmp_path / "a/front").mkdir()
    strays = [tmp_path / "a/.checkpoint.pt.99.tmp", tmp_path / "a/front/.net.yaml.7.tmp"]
    mine = tmp_path / "a/.notes.tmp"
    for file in (*strays, mine):
        file.touch()
    (tmp_path / "a/export/.export.0.5.tmp").mkdir(parents=True)  # which cannot be unlinked
    RunFolder.open(str(tmp_path / "a"), "search", "", resume=True).close()
    assert mine.exists() and not any(file.exists() for file in strays)


def test_a_run_killed_before_its_first_checkpoint_is_resumed_and_explained(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/config.yaml").write_text("seed: 1\n")
    run = RunFolder.open(str(tmp_path / "a"), "search", "", resume=True)
    assert run.load() is None and environment_of(run.path)["threads"] == torch.get_num_threads()
    assert (tmp_path / "a/config.yaml").read_text() == "seed: 1\n"
    run.close()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_saving_waits_until_the_file_is_whole(tmp_path, monkeypatch, signum):
    came = []
    before = signal.signal(signum, lambda number, frame: came.append(path.exists()))
    path = tmp_path / "checkpoint.pt"
    save = torch.save

    def interrupted(state, file):
        os.kill(os.getpid(), signum)
        os.kill(os.getpid(), signum)
        save(state, file)

    try:
        monkeypatch.setattr(folder_module.torch, "save", interrupted)
        save_checkpoint(path, {"step": 3})
        assert signal.getsignal(signum) not in (signal.SIG_DFL, signal.SIG_IGN)
    finally:
        signal.signal(signum, before)
    assert came == [True] and load_checkpoint(path) == {"step": 3}


def test_after_ctrl_c_a_further_one_ends_the_process_without_a_word(capsys):
    before = signal.getsignal(signal.SIGINT)

    def interrupted(argv):
        raise KeyboardInterrupt

    try:
        assert run_command(interrupted, []) == 130
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "\ninterrupted; a run that had begun continues with --resume\n"


def test_what_was_typed_is_kept_without_passwords(monkeypatch):
    """A run's page shows it, and is sent to others."""
    monkeypatch.setattr("sys.argv", ["sod-nas", "search", "--storage=postgresql://me:secret@host/db", "--out", "a:b@c"])
    assert folder_module.environment()["command"][-3:] == ["--storage=postgresql://me:***@host/db", "--out", "a:b@c"]
