#!/usr/bin/env bash
# Cuts the January 2013 sample out of the full nycflights13 tables.
#
#   examples/flights/data/cut-sample.sh <folder with the full tables> [output folder]
#
# Keeps the rows of `flights` and `weather` whose year and month columns say 2013-01, in the order
# of the source, and the three small tables whole. The output holds no timestamp and no file name,
# so the same source gives the same bytes.
set -euo pipefail

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: $0 <folder with the full tables> [output folder]" >&2
    exit 64
fi
source_dir=$1
output_dir=${2:-$(dirname "$0")}

for table in flights weather planes airports airlines; do
    if [ ! -r "$source_dir/$table.csv.gz" ]; then
        echo "$0: $source_dir/$table.csv.gz is missing or unreadable" >&2
        exit 1
    fi
done

# Columns are found by their names in the header. No table has a quoted or multi-line field.
january='
    NR == 1 {
        for (i = 1; i <= NF; i++) column[$i] = i
        if (!("year" in column) || !("month" in column)) {
            print "no column year or month in the header: " $0 > "/dev/stderr"
            exit 1
        }
        print
        next
    }
    $column["year"] == 2013 && $column["month"] == 1
'

for table in flights weather; do
    gzip -dc "$source_dir/$table.csv.gz" | awk -F, "$january" | gzip -9n > "$output_dir/$table.csv.gz"
done
for table in planes airports airlines; do
    gzip -dc "$source_dir/$table.csv.gz" | gzip -9n > "$output_dir/$table.csv.gz"
done
