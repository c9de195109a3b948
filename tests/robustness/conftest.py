"""What all attacks share: a cache of their own, and an end to what hangs."""

import signal

import pytest

SECONDS = 20


class Hang(BaseException):
    """A case took too long; no reader's own handler of errors can hide it."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def survives():
    """Calls a reader on damaged input: it returns or says one sentence, and does so soon."""
    from pilotage.errors import PilotageError

    def call(reader, *arguments, **settings):
        signal.alarm(SECONDS)
        try:
            return reader(*arguments, **settings)
        except PilotageError as error:
            said = str(error)
            assert said
            assert "\n" not in said
            assert "Traceback" not in said
            assert len(said) < 20_000
            return None
        finally:
            signal.alarm(0)

    def hang(*_):
        raise Hang(f"a case took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, hang)
    yield call
    signal.signal(signal.SIGALRM, before)
