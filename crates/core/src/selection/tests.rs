//! What selections select, what is refused, and what holds for any text.

use proptest::prelude::*;

use super::pattern::Pattern;
use super::term::{Expression, Reach, Term};
use super::*;
use crate::ErrorKind;
use crate::asset::{Asset, In};
use crate::pipeline::Pipeline;

/// raw → clean → daily → report, raw → stats, and `odd name` alone.
fn pipeline() -> Pipeline {
    let from = |name: &str, upstream: &str| {
        Asset::new(name)
            .upstream(upstream)
            .run(|In(value): In<i64>| async move { value })
    };
    Pipeline::builder("test")
        .asset(Asset::new("raw").group("ingest").tag("daily").run(|| async { 1_i64 }))
        .asset(from("clean", "raw").group("ingest").tag("daily").tag("checked"))
        .asset(from("daily", "clean").group("reports"))
        .asset(from("report", "daily").group("reports"))
        .asset(from("stats", "raw").tag("big one"))
        .asset(Asset::new("odd, \"name\"\n*").run(|| async { 1_i64 }))
        .build()
        .unwrap()
}

fn names(graph: &AssetGraph, nodes: &[NodeIx]) -> String {
    nodes
        .iter()
        .map(|node| graph.node(*node).key().as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

fn assets_of(selection: &str) -> String {
    let pipeline = pipeline();
    let selected = Selection::parse(selection).unwrap().resolve(pipeline.graph()).unwrap();
    names(pipeline.graph(), &selected.assets)
}

fn targets_of(selection: &str) -> String {
    let pipeline = pipeline();
    let selected = Selection::parse(selection).unwrap().resolve(pipeline.graph()).unwrap();
    names(pipeline.graph(), &selected.targets)
}

fn refusal_of(selection: &str) -> (ErrorKind, String) {
    let pipeline = pipeline();
    let error = Selection::parse(selection)
        .and_then(|parsed| parsed.resolve(pipeline.graph()))
        .unwrap_err();
    (
        error.kind(),
        format!(
            "{} ({})",
            error.message(),
            error.advice().expect("every refusal says how to mend it")
        ),
    )
}

#[test]
fn names_stars_groups_and_tags_select() {
    for (selection, assets) in [
        ("clean", "clean"),
        ("\"clean\"", "clean"),
        ("r*", "raw report"),
        ("*a*", "raw clean daily stats odd, \"name\"\n*"),
        ("*", "raw clean daily report stats odd, \"name\"\n*"),
        ("group:ingest", "raw clean"),
        ("group:*", "raw clean daily report"),
        ("tag:checked", "clean"),
        ("tag:\"big one\"", "stats"),
        ("tag:\"big \"*", "stats"),
        (r#""odd, \"name\"\n*""#, "odd, \"name\"\n*"),
        (r#""odd, \u{22}name\u{22}\u{a}*""#, "odd, \"name\"\n*"),
    ] {
        assert_eq!(assets_of(selection), assets, "{selection}");
    }
}

#[test]
fn plus_signs_add_what_is_around() {
    for (selection, assets) in [
        ("+daily", "raw clean daily"),
        ("1+daily", "clean daily"),
        ("++daily", "raw clean daily"),
        ("0+daily", "daily"),
        ("daily+", "daily report"),
        ("raw+1", "raw clean stats"),
        ("raw++", "raw clean daily stats"),
        ("1+daily+1", "clean daily report"),
        ("+stats+", "raw stats"),
        ("+group:reports", "raw clean daily report"),
        ("1+(daily or stats)", "raw clean daily stats"),
        ("+\"report\"", "raw clean daily report"),
    ] {
        assert_eq!(assets_of(selection), assets, "{selection}");
    }
}

#[test]
fn not_binds_closer_than_and_and_that_closer_than_or() {
    for (selection, assets) in [
        ("raw stats", "raw stats"),
        ("raw, stats", ""),
        ("raw,tag:daily or stats", "raw stats"),
        ("stats or tag:daily and not raw", "clean stats"),
        ("(stats or tag:daily) and not raw", "clean stats"),
        ("(stats or tag:daily) and raw", "raw"),
        ("stats tag:daily and raw", "raw stats"),
        ("not not raw", "raw"),
        ("NOT group:* AND s*", "stats"),
        ("raw and stats", ""),
        ("+report and not +clean", "daily report"),
    ] {
        assert_eq!(assets_of(selection), assets, "{selection}");
    }
}

#[test]
fn targets_are_what_needs_no_plus_to_be_selected() {
    for (selection, targets) in [
        ("+report", "report"),
        ("group:ingest+", "raw clean"),
        ("+report and not raw", "report"),
        ("+report and group:ingest", ""),
        ("+report or clean", "clean report"),
        ("* and not +clean", "daily report stats odd, \"name\"\n*"),
    ] {
        assert_eq!(targets_of(selection), targets, "{selection}");
    }
}

#[test]
fn what_nothing_fits_is_not_found_with_what_may_be_meant() {
    for (selection, refusal) in [
        ("claen", "no asset is called \"claen\" (did you mean \"clean\"?)"),
        ("group:ingst", "no group is called \"ingst\" (did you mean \"ingest\"?)"),
        ("tag:nightly", "no tag is called \"nightly\" (`list` shows all assets)"),
        ("x*", "the name of no asset fits x* (`list` shows all assets)"),
    ] {
        assert_eq!(
            refusal_of(selection),
            (ErrorKind::NotFound, refusal.to_owned()),
            "{selection}"
        );
    }
}

#[test]
fn everything_of_an_empty_pipeline_is_nothing() {
    let selected = Selection::all().resolve(&AssetGraph::default()).unwrap();

    assert_eq!(selected, Selected::default());
}

#[test]
fn a_refusal_says_where_and_what_was_expected() {
    const TERM: &str = "a name, `*`, `group:`, `tag:`, `not` or `(`";
    const QUOTE: &str = "write names with other characters than letters, digits and _ - . / in double quotes";
    for (selection, refusal) in [
        (
            "",
            format!("expected {TERM} at character 1, found the end (`*` selects all assets)"),
        ),
        (
            "a and ",
            format!("expected {TERM} at character 7, found the end (`*` selects all assets)"),
        ),
        ("a,,b", format!("expected {TERM} at character 3, found `,` ({QUOTE})")),
        ("ü & b", format!("expected {TERM} at character 3, found `&` ({QUOTE})")),
        ("+ a", format!("expected {TERM} at character 2, found ` ` ({QUOTE})")),
        (
            "a+b",
            format!("expected a space, `,` or `)` at character 3, found `b` ({QUOTE})"),
        ),
        (
            "a(b)",
            format!("expected a space, `,` or `)` at character 2, found `(` ({QUOTE})"),
        ),
        (
            "grp:x",
            format!("expected `group:` or `tag:` at character 1, found `grp` ({QUOTE})"),
        ),
        (
            "a or and",
            format!("expected {TERM} at character 6, found `and` (write \"and\" in quotes to mean an asset's name)"),
        ),
        (
            "(a or b",
            "expected `)` at character 8, found the end (close the parenthesis)".to_owned(),
        ),
        (
            "a) b",
            "expected the end at character 2, found `)` (take the `)` away, or add its `(`)".to_owned(),
        ),
        (
            "a \"b",
            "expected a quoted name with a closing quote at character 3, found `\"` (add the closing `\"`)".to_owned(),
        ),
        (
            "\"\"",
            "expected a name that is not empty at character 1, found `\"` (`*` selects all assets)".to_owned(),
        ),
        (
            "4294967296+a",
            "expected a number of steps below 2³² at character 1, found `4294967296` (write `+` alone for all steps)"
                .to_owned(),
        ),
        (
            r#""\x""#,
            r#"expected an escape: \" \\ \n \r \t \u{…} at character 3, found `x` (write `\\` for a backslash)"#
                .to_owned(),
        ),
    ] {
        assert_eq!(refusal_of(selection), (ErrorKind::Invalid, refusal), "{selection}");
    }
}

#[test]
fn the_text_of_a_refusal_names_the_selection() {
    let error = Selection::parse("raw &").unwrap_err();

    assert!(
        error
            .to_string()
            .starts_with("failed to parse selection \"raw &\": expected "),
        "{error}"
    );
}

#[test]
fn length_and_nesting_are_bounded() {
    for text in [
        "(".repeat(100),
        "not ".repeat(100),
        "(".repeat(100_000),
        "a ".repeat(100_000),
    ] {
        assert_eq!(Selection::parse(&text).unwrap_err().kind(), ErrorKind::LimitExceeded);
    }
    assert!(Selection::parse(&format!("{}a{}", "(".repeat(64), ")".repeat(64))).is_ok());
    assert!(Selection::parse(&"a ".repeat(30_000)).is_ok());
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let piece = prop_oneof![
        "[a-z0-9_./-]{1,4}",
        "[+,()\"\\\\:* \n]{1,3}",
        "and|or|not|Not",
        ".{1,3}"
    ];
    prop::collection::vec(prop::option::of(piece), 1..4).prop_map(|pieces| {
        let mut pattern = Pattern::exact("");
        for piece in pieces {
            match piece {
                Some(text) => text.chars().for_each(|c| pattern.push(c)),
                None => pattern.push_star(),
            }
        }
        pattern
    })
}

fn reach() -> impl Strategy<Value = Reach> {
    prop_oneof![
        any::<u32>().prop_map(Reach::Steps),
        Just(Reach::Steps(0)),
        Just(Reach::All)
    ]
}

fn expression() -> impl Strategy<Value = Expression> {
    let term = prop_oneof![
        pattern().prop_map(Term::Name),
        pattern().prop_map(Term::Group),
        pattern().prop_map(Term::Tag),
    ];
    term.prop_map(Expression::Term).prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            (reach(), inner.clone(), reach()).prop_map(|(up, of, down)| Expression::around(up, of, down)),
            inner.clone().prop_map(|of| Expression::Not(Box::new(of))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expression::And),
            prop::collection::vec(inner, 2..4).prop_map(Expression::Or),
        ]
    })
}

proptest! {
    #[test]
    fn a_displayed_selection_reads_back_the_same(expression in expression()) {
        let selection = Selection(expression);

        prop_assert_eq!(Selection::parse(&selection.to_string()).unwrap(), selection);
    }

    #[test]
    fn any_name_selects_its_asset_when_written_as_a_selection_writes_it(name in "[^\\x00]{1,20}|[ -/:-@]{1,6}|[0-9]{1,3}") {
        let key = AssetKey::new(&name).unwrap();
        let pipeline = Pipeline::builder("test").asset(Asset::new(&name).run(|| async { 1_i64 })).build().unwrap();

        let selection = Selection::parse(&name_in_selection(&name)).unwrap();

        prop_assert_eq!(&selection, &Selection::asset(&key));
        prop_assert_eq!(selection.resolve(pipeline.graph()).unwrap().targets.len(), 1);
    }

    #[test]
    fn no_text_makes_it_panic(text in prop_oneof![
        any::<String>(),
        "([ab(),+:*\"\\\\ 02]|and |or |not |group:|tag:|\\\\u\\{){0,40}",
    ]) {
        if let Ok(selection) = Selection::parse(&text) {
            prop_assert_eq!(Selection::parse(&selection.to_string()).unwrap(), selection.clone());
            let _ = selection.resolve(pipeline().graph());
        }
    }
}
