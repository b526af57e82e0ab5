#!/usr/bin/env python3
"""Computes what the flights example should report, by SQL in SQLite.

    python3 compute.py <folder with the five .csv.gz tables> <output folder>

Shares nothing with the Rust code: it reads the same CSV files and counts on its own. Every
definition is written down in README.md beside this file. Needs only the standard library.
"""

import csv
import gzip
import json
import sqlite3
import sys
from pathlib import Path

# Columns that are numbers, by table; every other column stays text. `NA` becomes NULL in all.
INTEGERS = {
    "flights": {
        "year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time",
        "sched_arr_time", "arr_delay", "flight", "air_time", "distance", "hour", "minute",
    },
    "weather": {"year", "month", "day", "hour"},
    "planes": {"year", "engines", "seats", "speed"},
    "airports": set(),
    "airlines": set(),
}
REALS = {
    "weather": {
        "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure",
        "visib",
    },
}

# The views that the reports are made from.
VIEWS = """
CREATE VIEW flight AS
SELECT printf('%04d-%02d', f.year, f.month)             AS month_key,
       printf('%04d-%02d-%02d', f.year, f.month, f.day) AS day_key,
       f.dep_time IS NULL                               AS is_cancelled,
       f.dep_time IS NOT NULL                           AS is_flown,
       f.dep_time IS NOT NULL AND f.arr_delay IS NOT NULL AS has_arrival,
       f.dep_time IS NOT NULL AND f.arr_delay < 15      AS is_on_time,
       f.*
FROM flights f;

CREATE VIEW flown AS SELECT * FROM flight WHERE is_flown;

CREATE VIEW carrier_month AS
SELECT month_key                              AS month,
       carrier                                AS carrier,
       count(*)                               AS scheduled,
       sum(is_cancelled)                      AS cancelled,
       sum(is_flown)                          AS flown,
       coalesce(sum(dep_delay), 0)            AS dep_delay_sum,
       sum(has_arrival)                       AS arr_delay_n,
       coalesce(sum(arr_delay), 0)            AS arr_delay_sum,
       coalesce(sum(is_on_time), 0)           AS on_time
FROM flight
GROUP BY month_key, carrier;
"""

REPORTS = {
    "raw_flights": """
        SELECT day_key AS day, count(*) AS rows
        FROM flight GROUP BY day_key ORDER BY day_key
    """,
    "clean_flights": """
        SELECT day_key AS day,
               sum(is_flown) AS flown,
               sum(is_cancelled) AS cancelled,
               sum(is_flown AND arr_delay IS NULL) AS flown_without_arr_delay
        FROM flight GROUP BY day_key ORDER BY day_key
    """,
    "weather": """
        SELECT printf('%04d-%02d-%02d', year, month, day) AS day, count(*) AS rows
        FROM weather GROUP BY 1 ORDER BY 1
    """,
    "delays": """
        SELECT f.day_key AS day,
               count(*) AS flown,
               sum(w.origin IS NOT NULL) AS with_weather,
               sum(f.dep_delay) AS dep_delay_sum,
               count(f.arr_delay) AS arr_delay_n,
               coalesce(sum(f.arr_delay), 0) AS arr_delay_sum,
               coalesce(sum(w.precip > 0), 0) AS wet_n,
               coalesce(sum(CASE WHEN w.precip > 0 THEN f.dep_delay END), 0) AS wet_dep_delay_sum,
               coalesce(sum(w.precip = 0), 0) AS dry_n,
               coalesce(sum(CASE WHEN w.precip = 0 THEN f.dep_delay END), 0) AS dry_dep_delay_sum
        FROM flown f
        LEFT JOIN weather w ON w.origin = f.origin AND w.time_hour = f.time_hour
        GROUP BY f.day_key ORDER BY f.day_key
    """,
    "carrier_report": """
        SELECT c.month, c.carrier, a.name, c.scheduled, c.cancelled, c.flown, c.dep_delay_sum,
               c.arr_delay_n, c.arr_delay_sum, c.on_time
        FROM carrier_month c LEFT JOIN airlines a ON a.carrier = c.carrier
        ORDER BY c.month, c.carrier
    """,
    "route_report": """
        SELECT f.month_key AS month, f.origin, f.dest, p.name AS dest_name,
               min(f.distance) AS distance,
               count(*) AS flown,
               count(f.arr_delay) AS arr_delay_n,
               coalesce(sum(f.arr_delay), 0) AS arr_delay_sum,
               count(f.air_time) AS air_time_n,
               coalesce(sum(f.air_time), 0) AS air_time_sum
        FROM flown f LEFT JOIN airports p ON p.faa = f.dest
        GROUP BY f.month_key, f.origin, f.dest ORDER BY f.month_key, f.origin, f.dest
    """,
    "punctuality": """
        WITH total AS (
            SELECT substr(month, 1, 4) AS year, carrier,
                   sum(scheduled) AS scheduled, sum(cancelled) AS cancelled, sum(flown) AS flown,
                   sum(arr_delay_n) AS arr_delay_n, sum(on_time) AS on_time
            FROM carrier_month GROUP BY 1, 2
        )
        SELECT t.year,
               row_number() OVER (
                   PARTITION BY t.year
                   ORDER BY CAST(t.on_time AS REAL) / t.arr_delay_n DESC NULLS LAST, t.carrier
               ) AS rank,
               t.carrier, a.name, t.scheduled, t.cancelled, t.flown, t.arr_delay_n, t.on_time
        FROM total t LEFT JOIN airlines a ON a.carrier = t.carrier
        ORDER BY t.year, rank
    """,
    "summary": """
        WITH route AS (
            SELECT origin, dest, count(*) AS flown FROM flown GROUP BY origin, dest
            ORDER BY flown DESC, origin, dest LIMIT 1
        ), day AS (
            SELECT day_key, count(*) AS flown, sum(dep_delay) AS dep_delay_sum
            FROM flown GROUP BY day_key
            ORDER BY CAST(sum(dep_delay) AS REAL) / count(*) DESC, day_key LIMIT 1
        ), age AS (
            SELECT count(*) AS n, coalesce(sum(2013 - p.year), 0) AS years
            FROM flown f JOIN planes p ON p.tailnum = f.tailnum
            WHERE p.year IS NOT NULL
        )
        SELECT count(*) AS scheduled, sum(is_cancelled) AS cancelled, sum(is_flown) AS flown,
               (SELECT origin FROM route) AS busiest_origin,
               (SELECT dest FROM route) AS busiest_dest,
               (SELECT flown FROM route) AS busiest_flown,
               (SELECT day_key FROM day) AS worst_day,
               (SELECT flown FROM day) AS worst_day_flown,
               (SELECT dep_delay_sum FROM day) AS worst_day_dep_delay_sum,
               (SELECT n FROM age) AS plane_age_n,
               (SELECT years FROM age) AS plane_age_sum
        FROM flight
    """,
}


def load(db: sqlite3.Connection, folder: Path, table: str) -> None:
    """Reads one CSV file into a table of the same name, refusing rows of another width."""
    path = folder / f"{table}.csv.gz"
    integers, reals = INTEGERS[table], REALS.get(table, set())

    with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
        lines = csv.reader(text)
        header = next(lines)
        missing = (integers | reals) - set(header)
        if missing:
            sys.exit(f"{path}: no column {', '.join(sorted(missing))}")
        parsers = [int if c in integers else float if c in reals else str for c in header]

        def rows():
            for line in lines:
                if len(line) != len(header):
                    sys.exit(f"{path}:{lines.line_num}: {len(line)} fields, want {len(header)}")
                yield [None if v == "NA" else parse(v) for v, parse in zip(line, parsers)]

        db.execute(f"CREATE TABLE {table} ({', '.join(header)})")
        db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(header))})", rows())


def write(path: Path, rows: list) -> None:
    """Writes a JSON array with one row a line, so that a difference is a line."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} <data folder> <output folder>")
    data, output = Path(sys.argv[1]), Path(sys.argv[2])
    output.mkdir(parents=True, exist_ok=True)

    db = sqlite3.connect(":memory:")
    for table in INTEGERS:
        load(db, data, table)
    db.execute("CREATE UNIQUE INDEX weather_hour ON weather (origin, time_hour)")
    db.execute("CREATE UNIQUE INDEX plane_tailnum ON planes (tailnum)")
    db.execute("CREATE UNIQUE INDEX airport_faa ON airports (faa)")
    db.execute("CREATE UNIQUE INDEX airline_carrier ON airlines (carrier)")
    db.executescript(VIEWS)

    db.row_factory = sqlite3.Row
    for name, query in REPORTS.items():
        rows = [dict(row) for row in db.execute(query)]
        write(output / f"{name}.json", rows)
        print(f"{output / name}.json: {len(rows)} rows")


if __name__ == "__main__":
    main()
