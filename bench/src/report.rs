//! Tells a figure: as a row of a table for people, as a line of JSON for programs.

use serde_json::json;

use crate::figures::{Figure, Measured, name_len_max};
use crate::goals::Goal;

/// A figure with what it should have been.
pub(crate) struct Line<'a> {
    figure: &'a Figure,
    goal: Option<Goal>,
    measured: Measured,
}

impl<'a> Line<'a> {
    pub(crate) fn new(figure: &'a Figure, goal: Option<Goal>, measured: Measured) -> Self {
        Self { figure, goal, measured }
    }

    /// The row below [`heading`].
    pub(crate) fn row(&self) -> String {
        let value = self.measured.value.map_or_else(|| "–".to_owned(), readable);
        columns([
            self.figure.name,
            &value,
            self.figure.unit,
            &self.goal_text().unwrap_or_default(),
            &self.aim_text().unwrap_or_default(),
            &self.measured.rounds.to_string(),
            &self.note(),
        ])
    }

    /// The same as one JSON object.
    pub(crate) fn json(&self) -> String {
        json!({
            "figure": self.figure.name,
            "value": self.measured.value,
            "unit": self.figure.unit,
            "goal": self.goal_text(),
            "aim": self.aim_text(),
            "n": self.measured.rounds,
            "note": self.note(),
        })
        .to_string()
    }

    fn goal_text(&self) -> Option<String> {
        self.goal.map(|goal| goal.goal.to_string())
    }

    fn aim_text(&self) -> Option<String> {
        self.goal.and_then(|goal| goal.aim).map(|aim| aim.to_string())
    }

    /// The verdict, then what the figure itself notes.
    fn note(&self) -> String {
        let verdict = self.goal.zip(self.measured.value).map(|(goal, value)| {
            if let Some(doubt) = self.measured.doubt {
                doubt
            } else if !goal.goal.keeps(value) {
                "MISSED"
            } else if goal.aim.is_some_and(|aim| aim.keeps(value)) {
                "aim reached"
            } else {
                "goal reached"
            }
        });
        let parts = verdict.into_iter().chain([self.measured.note.as_str()]);
        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

/// The heads of the columns.
pub(crate) fn heading() -> String {
    columns(["figure", "value", "unit", "goal", "aim", "n", "note"])
}

fn columns([figure, value, unit, goal, aim, rounds, note]: [&str; 7]) -> String {
    let name_len = name_len_max();
    format!("{figure:<name_len$}  {value:>10}  {unit:<7}  {goal:<8}  {aim:<9}  {rounds:>3}  {note}")
        .trim_end()
        .to_owned()
}

/// Three digits that matter, or all before the point, in groups of three.
fn readable(value: f64) -> String {
    let digits = match value.abs() {
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    if digits > 0 {
        return text;
    }
    let grouped: Vec<_> = text.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    grouped.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::FIGURES;
    use crate::goals::Bound;

    fn line(value: f64) -> Line<'static> {
        let goal = Goal {
            goal: Bound::Below(5.0),
            aim: Some(Bound::Below(1.5)),
        };
        let measured = Measured {
            value: Some(value),
            rounds: 3,
            doubt: None,
            note: "beside".to_owned(),
        };
        Line::new(&FIGURES[0], Some(goal), measured)
    }

    #[test]
    fn a_missed_goal_is_said_to_be_missed() {
        assert_eq!(line(7.0).note(), "MISSED; beside");
        assert_eq!(line(2.0).note(), "goal reached; beside");
        assert_eq!(line(1.0).note(), "aim reached; beside");
    }

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!(readable(1_234_567.8), "1,234,568");
        assert_eq!(readable(123.4), "123");
        assert_eq!(readable(12.34), "12.3");
    }
}
