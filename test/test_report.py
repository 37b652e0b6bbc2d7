"""Reports: a folder that is whole or not there, a page that a browser draws, and Markdown for cards."""

import json
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_results import assert_equal, make_table

from fourd_ros.cli import main
from fourd_ros.errors import InvalidResults
from fourd_ros.evaluation.charts import DARK, draw_chart
from fourd_ros.evaluation.report import Picture, report_markdown, write_report
from fourd_ros.evaluation.results import ResultTable
from fourd_ros.evaluation.results_file import read_csv, read_results
from fourd_ros.viewer.browser import read_page

NOISE = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)


def tables() -> list[ResultTable]:
    values = make_table().values.copy()
    values[:, 2, 1] = np.nan
    values[:2, 1, 1] = np.inf
    return [make_table(values=values), make_table(1, title="$Zwei$ | *tables*", baseline=None)]


def write(folder: Path) -> Path:
    return write_report(
        folder,
        title="A report <of> & things",
        tables=tables(),
        pictures=[Picture(caption="noise </figure>", rgb=NOISE)],
        notes=["Made by <nobody>."],
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("reports") / "report")


def test_folder_holds_page_charts_and_every_value(report: Path) -> None:
    folder = report.parent
    names = ("1_a_table_of_say_results", "2_zwei_tables")
    expected = {"index.html", "results.json", "picture_1.png"}
    expected |= {f"{name}{ending}" for name in names for ending in (".png", ".csv", "_values.csv")}
    assert {path.name for path in folder.iterdir()} == expected
    for table, again, name in zip(tables(), read_results(folder / "results.json"), names, strict=True):
        assert_equal(again, table)
        given = {"title": table.title, "metrics": table.metrics, "baseline": table.baseline, "unit_name": "episode"}
        assert_equal(read_csv(folder / f"{name}_values.csv", **given), table)
        chart = cv2.imread(str(folder / f"{name}.png"))
        assert chart.shape[1] > 1000
        assert len(np.unique(chart.reshape(-1, 3), axis=0)) > 20
    np.testing.assert_array_equal(cv2.imread(str(folder / "picture_1.png"))[..., ::-1], NOISE)


def test_scripts_find_the_aggregates(report: Path) -> None:
    document = json.loads((report.parent / "results.json").read_text())
    assert document["bootstrap"] == {"confidence": 0.95, "resamples": 2000, "seed": 0}
    found = {(entry["method"], entry["metric"]): entry for entry in document["aggregates"][0]}
    good = found["good", "score"]
    assert (good["verdict"], good["infinite"], good["mean"]["count"]) == ("better", 2, 28)
    assert good["difference"]["low"] > 0.08
    assert found["same", "score"]["mean"]["estimate"] is None
    assert document["aggregates"][1][0]["difference"] is None


def test_page_stands_alone_and_escapes_text(report: Path) -> None:
    text = report.read_text()
    assert "default-src 'none'" in text
    assert not re.search(r'(?:src|href)="(?!data:|[\w.]+")', text)
    assert "A report &lt;of&gt; &amp; things" in text
    assert "Made by &lt;nobody&gt;." in text
    assert "noise &lt;/figure&gt;" in text
    for word in ("<of>", "<nobody>", "<table> of"):
        assert word not in text
    assert all((report.parent / name).is_file() for name in re.findall(r'href="([^"]+)"', text))


def test_same_input_gives_the_same_bytes(report: Path, tmp_path: Path) -> None:
    again = write(tmp_path / "again")
    for path in report.parent.iterdir():
        assert (again.parent / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_browser_runs_the_page_and_sorts(report: Path, tmp_path: Path) -> None:
    clicked = tmp_path / "clicked.html"
    click = "<script>document.querySelectorAll('table')[0].tHead.querySelectorAll('button')[2].click()</script></body>"
    clicked.write_text(report.read_text().replace("</body>", click))
    dom = read_page(clicked, "scheme=dark")
    root = re.search(r"<html[^>]*>", dom)
    assert root
    assert 'data-ready="1"' in root[0]
    assert 'data-errors="0"' in root[0]
    assert 'data-scheme="dark"' in root[0]
    body = dom.split("<tbody>")[1].split("</tbody>")[0]
    means = [re.findall(r'data-value="([^"]*)"', row)[0] for row in body.split("</tr>")[:-1]]
    assert means[-1] == "", "what is not known stands last"
    known = [float(value) for value in means[:-1]]
    assert known == sorted(known)


def test_a_report_is_replaced_and_other_files_are_not(report: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    write(folder)
    write_report(folder, title="smaller", tables=tables()[:1])
    assert not (folder / "2_zwei_tables.csv").exists()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(InvalidResults, match=r"holds \['thesis.tex'\]"):
        write(folder)
    assert (folder / "thesis.tex").read_text() == "years of work"
    assert "smaller" in (folder / "index.html").read_text()
    with pytest.raises(InvalidResults, match="is a file; a report is a folder"):
        write(folder / "index.html")
    with pytest.raises(InvalidResults, match="at least one table"):
        write_report(tmp_path / "none", title="none", tables=[])


def test_a_report_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    real = Path.write_bytes

    def fail_after_three(path: Path, content: bytes) -> int:
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(path)
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", fail_after_three)
    with pytest.raises(InvalidResults, match="No space left"):
        write(tmp_path / "report")
    assert os.listdir(tmp_path) == []


def test_pictures_of_another_kind_are_refused(tmp_path: Path) -> None:
    picture = Picture(caption="depth", rgb=np.zeros((4, 4), dtype=np.uint8))
    with pytest.raises(InvalidResults, match=r"needed is uint8 \[H, W, 3\]"):
        write_report(tmp_path / "report", title="t", tables=tables(), pictures=[picture])


def test_charts_show_what_is_known(tmp_path: Path) -> None:
    table = make_table()
    chart = draw_chart(table, table.aggregate(), palette=DARK)
    assert chart is not None
    picture = cv2.imdecode(np.frombuffer(chart, np.uint8), cv2.IMREAD_COLOR)
    assert picture.mean() < 80
    unknown = make_table(values=np.full(table.values.shape, np.nan))
    assert draw_chart(unknown, unknown.aggregate()) is None
    page = write_report(tmp_path / "report", title="nothing", tables=[unknown])
    assert not list(page.parent.glob("*.png"))


def test_markdown_for_cards() -> None:
    first, second = tables()
    text = report_markdown([first, second])
    assert "| method | error \\[mm\\] ↓ | score ↑ |" in text
    assert re.search(r"\| good \| \*\*\d+\.\d\*\* \[\d+\.\d, \d+\.\d\] \| \*\*0\.\d{3}\*\* ", text)
    assert re.search(r"\| same \| \d+\.\d \[.*\] \| - \|", text)
    assert "**$Zwei$ \\| \\*tables\\***" in text
    tall = ResultTable(
        title="tall", metrics=first.metrics, methods=("good",), units=first.units, values=first.values[:, 1:2]
    )
    assert "| metric | good |" in report_markdown([tall])


def test_command_renders_results_again(report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = str(report.parent / "results.json")
    assert main(["report", results, results, "--out", str(tmp_path / "both"), "--confidence", "0.5"]) == 0
    assert f"4 tables: {(tmp_path / 'both' / 'index.html').as_uri()}" in capsys.readouterr().out
    document = json.loads((tmp_path / "both" / "results.json").read_text())
    wide = json.loads((report.parent / "results.json").read_text())["aggregates"][0][0]["mean"]
    narrow = document["aggregates"][2][0]["mean"]
    assert wide["low"] < narrow["low"] < narrow["estimate"] < narrow["high"] < wide["high"]
    assert main(["report", results, "--markdown"]) == 0
    assert capsys.readouterr().out.strip() == report_markdown(tables())
    assert main(["report", str(report), "--markdown"]) == 1
    assert "is no file of results" in capsys.readouterr().err
