//! The reports as a person reads them. Divides sums by counts; decides nothing else.

use std::io::{self, Write};

use super::overview::Summary;
use super::reports::PunctualityRow;

/// Writes what all flights come to.
pub(crate) fn write_summary(out: &mut dyn Write, summary: &Summary) -> io::Result<()> {
    let Summary {
        scheduled,
        cancelled,
        flown,
        wet_n,
        dry_n,
        ..
    } = *summary;
    writeln!(
        out,
        "Departures from New York, {} to {}\n",
        summary.first_day, summary.last_day
    )?;
    let mut line = |label: &str, value: &str, note: &str| {
        let line = format!("  {label:<16}{value:>10}  {note}");
        writeln!(out, "{}", line.trim_end())
    };
    line("scheduled", &grouped(scheduled), "")?;
    line("flown", &grouped(flown), &late(summary.dep_delay_sum, flown))?;
    line("cancelled", &grouped(cancelled), &percent(cancelled, scheduled))?;
    if let Some(route) = &summary.busiest {
        let note = format!("{} to {}", route.origin, route.dest);
        line("busiest route", &grouped(route.flown), &note)?;
    }
    if let Some(day) = &summary.worst_day {
        line("worst day", &day.day, &late(day.dep_delay_sum, day.flown))?;
    }
    line("in dry hours", &grouped(dry_n), &late(summary.dry_dep_delay_sum, dry_n))?;
    line("in wet hours", &grouped(wet_n), &late(summary.wet_dep_delay_sum, wet_n))?;
    let age = mean(summary.plane_age_sum, summary.plane_age_n);
    line(
        "planes",
        "",
        &age.map_or_else(|| "-".to_owned(), |age| format!("{age:.1} years old on average")),
    )
}

/// Writes a year's ranking.
pub(crate) fn write_punctuality(out: &mut dyn Write, year: &str, carriers: &[PunctualityRow]) -> io::Result<()> {
    writeln!(out, "\nOn time in {year}, arriving less than 15 minutes late\n")?;
    writeln!(
        out,
        "{:>6}  {:<32}{:>10}{:>10}{:>11}",
        "rank", "carrier", "on time", "flown", "cancelled"
    )?;
    for row in carriers {
        let name = row.name.as_deref().unwrap_or(&row.carrier);
        let on_time = percent(row.on_time, row.arr_delay_n);
        let (rank, flown, cancelled) = (row.rank, grouped(row.flown), percent(row.cancelled, row.scheduled));
        writeln!(out, "{rank:>6}  {name:<32}{on_time:>10}{flown:>10}{cancelled:>11}")?;
    }
    Ok(())
}

/// Writes a command to go on with; `folder` is where the data came from, if not from the sample.
pub(crate) fn write_next(out: &mut dyn Write, summary: &Summary, folder: Option<&str>) -> io::Result<()> {
    let month = summary.first_day.get(..7).unwrap_or_default();
    let data = folder
        .map(|folder| format!("FLIGHTS_DATA={folder:?} "))
        .unwrap_or_default();
    let run = "cargo run --release --example flights --";
    writeln!(out, "\nWhere a report comes from:\n")?;
    writeln!(out, "  {data}{run} lineage up carrier_report --partition {month}")
}

fn mean(sum: i64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum as f64 / count as f64)
}

fn late(delay_sum: i64, flights: u64) -> String {
    mean(delay_sum, flights).map_or_else(|| "-".to_owned(), |delay| format!("{delay:.1} min late on average"))
}

fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        _ => format!("{:.1} %", 100.0 * part as f64 / whole as f64),
    }
}

/// 27004 as 27,004.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
