"""The figures of the service's graph are those of real answers."""

from benchmarks.projection import measure


def test_every_question_is_answered_of_the_records_that_it_says() -> None:
    rows = {str(row["asked"]): row["rows"] for row in measure(400)}
    assert rows.pop("MB of memory") == 623
    assert rows == {
        "the first time": 400,
        "again": 400,
        "after 100 records more": 400,
        "for the next page": 400,
        "as of the past": 400,
    }
