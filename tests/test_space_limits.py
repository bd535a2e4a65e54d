"""Who is served how often and when, and what a host may decide."""

import datetime
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cfbench.errors import CfbenchError
from cfbench.space.desk import Busy, Desk
from cfbench.space.limits import Quota
from cfbench.space.settings import (
    Bounds,
    Settings,
    deployable,
    make_settings,
    read_settings,
)

DAY = datetime.date(2026, 3, 31)


class TestQuota:
    def test_counts_up_to_the_limit(self, tmp_path):
        quota = Quota(tmp_path / "state" / "q.sqlite", lambda: DAY)
        assert [quota.take("a", "scored", 2) for _ in range(3)] == [DAY, DAY, None]
        assert quota.used("a", "scored") == 2

    def test_users_and_kinds_are_counted_apart(self, tmp_path):
        quota = Quota(tmp_path / "q.sqlite", lambda: DAY)
        assert quota.take("a", "scored", 1)
        assert quota.take("b", "scored", 1)
        assert quota.take("a", "failed", 1)
        assert not quota.take("a", "scored", 1)

    def test_what_is_given_back_can_be_taken_again(self, tmp_path):
        quota = Quota(tmp_path / "q.sqlite", lambda: DAY)
        assert quota.take("a", "scored", 1)
        quota.give_back("a", "scored", DAY)
        quota.give_back("a", "scored", DAY)
        assert quota.used("a", "scored") == 0
        assert quota.take("a", "scored", 1)

    def test_each_day_begins_at_nothing_and_old_days_are_forgotten(self, tmp_path):
        days = [DAY]
        quota = Quota(tmp_path / "q.sqlite", lambda: days[-1])
        assert quota.take("a", "scored", 1)
        days.append(DAY + datetime.timedelta(days=1))
        assert quota.used("a", "scored") == 0
        assert quota.take("a", "scored", 1)
        days.append(DAY + datetime.timedelta(days=30))
        assert quota.take("b", "scored", 1)
        days.append(DAY)
        assert quota.used("a", "scored") == 0

    def test_a_restart_forgets_nothing(self, tmp_path):
        Quota(tmp_path / "q.sqlite", lambda: DAY).take("a", "scored", 1)
        assert Quota(tmp_path / "q.sqlite", lambda: DAY).used("a", "scored") == 1

    def test_many_at_once_get_no_more_than_there_is(self, tmp_path):
        quota = Quota(tmp_path / "q.sqlite", lambda: DAY)
        with ThreadPoolExecutor(16) as pool:
            took = list(pool.map(lambda _: quota.take("a", "scored", 5), range(40)))
        assert took.count(DAY) == 5
        assert quota.used("a", "scored") == 5

    def test_a_folder_that_cannot_be_written_to_is_said(self, tmp_path):
        (tmp_path / "q.sqlite").mkdir()
        with pytest.raises(CfbenchError, match="the count of uploads cannot be kept"):
            Quota(tmp_path / "q.sqlite")


class Line:
    """Users at a desk, each in a thread of its own, who leave when they are told to."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.places: dict[str, list[int]] = {}
        self.served: list[str] = []
        self._leave: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []
        self._told = threading.Condition()

    def join(self, name: str) -> None:
        self.places[name], self._leave[name] = [], threading.Event()
        thread = threading.Thread(target=self._stand, args=(name,))
        self._threads.append(thread)
        thread.start()
        self.wait(lambda: bool(self.places[name]))

    def leave(self, name: str) -> None:
        self._leave[name].set()

    def wait(self, done) -> None:
        with self._told:
            assert self._told.wait_for(done, 20)

    def close(self) -> None:
        for event in self._leave.values():
            event.set()
        for thread in self._threads:
            thread.join()

    def _stand(self, name: str) -> None:
        def told(place: int) -> None:
            with self._told:
                self.places[name].append(place)
                self._told.notify_all()

        with self.desk.turn(name, told):
            self.served.append(name)
            self._leave[name].wait()


@pytest.fixture
def line(request):
    found = Line(Desk(2, 3))
    yield found
    found.close()


class TestDesk:
    def test_two_are_served_and_the_others_are_told_their_place(self, line):
        for name in "abcde":
            line.join(name)
        assert line.served == ["a", "b"]
        assert {name: places[-1] for name, places in line.places.items()} == {
            "a": 0, "b": 0, "c": 1, "d": 2, "e": 3,
        }  # fmt: skip

    def test_who_came_first_is_served_first(self, line):
        for name in "abcd":
            line.join(name)
        line.leave("b")
        # Each is told by a thread of its own, in any order.
        line.wait(lambda: (line.places["c"], line.places["d"]) == ([1, 0], [2, 1]))
        line.leave("a")
        line.wait(lambda: line.places["d"] == [2, 1, 0])

    def test_a_full_queue_refuses_and_what_must_be_waits_all_the_same(self, line):
        for name in "abcde":
            line.join(name)
        with pytest.raises(Busy, match="3 uploads are waiting already"), line.desk.turn("f"):
            pass
        for name in "abcde":
            line.leave(name)
        with line.desk.turn("f", bounded=False):
            line.close()
        assert sorted(line.served) == list("abcde")

    def test_a_user_has_only_so_many(self):
        desk = Desk(2, 3, per_user=1)
        with (
            desk.turn("a"),
            pytest.raises(Busy, match="1 upload of yours is being scored already"),
            desk.turn("a"),
        ):
            pass
        with desk.turn("a"), desk.turn("b"):
            pass

    def test_an_error_frees_the_place(self):
        desk = Desk(1, 1)
        for _ in range(3):
            with pytest.raises(ValueError, match="broken"), desk.turn("a"):
                raise ValueError("broken")
        with desk.turn("a"):
            pass


class TestSettings:
    def write(self, folder: Path, text: str) -> Path:
        (folder / "space.toml").write_text(text)
        return folder / "space.toml"

    def test_paths_start_from_the_file(self, tmp_path):
        path = self.write(tmp_path, 'board = "b"\nstate = "s"\nreveal = 2027-01-31\n')
        found = read_settings(path, {})
        assert (found.board, found.state) == (tmp_path / "b", tmp_path / "s")
        assert found.reveal == datetime.date(2027, 1, 31)
        assert not found.login

    def test_the_environment_stands_in_place_of_the_file(self, tmp_path):
        path = self.write(tmp_path, 'results = "a/b"\nstate = "s"\n')
        found = read_settings(
            path,
            {
                "CFBENCH_SPACE_STATE": "/data",
                "CFBENCH_SPACE_REVEAL": "2027-02-01",
                "SPACE_ID": "a/s",
            },
        )
        assert found.state == Path("/data")
        assert found.reveal == datetime.date(2027, 2, 1)
        assert found.login

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ('results = "a/b"\nboard = "c"', "give either results"),
            ("", "give either results"),
            ('results = "../b"', "results: "),
            ('board = "b"\ncolour = "red"', "colour: "),
            ('board = "b"\n[limits]\nper_day = 0', "limits.per_day: "),
            ('board = "b"\nreveal = "soon"', "reveal: "),
            ("board = [", "not TOML"),
            (f"board = {'[' * 5000}", "not TOML"),
        ],
    )
    def test_what_is_wrong_is_said(self, tmp_path, text, told):
        with pytest.raises(CfbenchError, match=r"space\.toml: ") as error:
            read_settings(self.write(tmp_path, text), {})
        assert told in str(error.value)

    def test_every_problem_is_told_at_once(self):
        with pytest.raises(CfbenchError) as error:
            make_settings({"board": "b", "title": "", "under": "../x", "limits": {"waiting": -1}})
        assert len(error.value.problems) == 3

    def test_every_key_is_described(self):
        text = (Path(__file__).parents[1] / "docs" / "space.md").read_text(encoding="utf-8")
        described = re.findall(r"^\| `(\w+)` \| .+ \| (.*) \|$", text, re.MULTILINE)
        assert {key for key, _ in described} == {*Settings.model_fields, *Bounds.model_fields}
        defaults = {key: value.replace(",", "") for key, value in described}
        for key, field in Bounds.model_fields.items():
            assert defaults[key] == str(field.default)

    def test_options_stand_in_place_of_a_file(self, tmp_path):
        path = self.write(tmp_path, 'results = "a/b"\ntitle = "T"\n[limits]\nper_day = 3\n')
        found = deployable(path, {"results": "c/d", "title": None})
        assert (found.results, found.title, found.limits.per_day) == ("c/d", "T", 3)
