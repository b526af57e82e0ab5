//! Finds the assets that a selection selects.

use std::collections::BTreeSet;

use super::Selected;
use super::pattern::Pattern;
use super::term::{Expression, Reach, Term};
use crate::graph::{AssetGraph, Node, NodeIx};
use crate::pipeline::nearest;
use crate::{Error, ErrorKind, Result};

pub(super) fn resolve(expression: &Expression, graph: &AssetGraph) -> Result<Selected> {
    let assets = Resolver { graph, widens: true }.select(expression)?;
    let by_themselves = Resolver { graph, widens: false }.select(expression)?;
    let targets = assets.intersection(&by_themselves).copied().collect();
    Ok(Selected {
        assets: assets.into_iter().collect(),
        targets,
    })
}

struct Resolver<'a> {
    graph: &'a AssetGraph,
    /// False to take every `+` out.
    widens: bool,
}

impl Resolver<'_> {
    fn select(&self, expression: &Expression) -> Result<BTreeSet<NodeIx>> {
        match expression {
            Expression::Term(term) => self.term(term),
            Expression::Around { of, .. } if !self.widens => self.select(of),
            Expression::Around {
                upstream,
                of,
                downstream,
            } => {
                let of = self.select(of)?;
                let mut selected = self.widen(&of, *upstream, |node| {
                    node.inputs().iter().map(|input| input.upstream).collect()
                });
                selected.extend(self.widen(&of, *downstream, |node| node.downstream().to_vec()));
                Ok(selected)
            }
            Expression::Not(of) => {
                let others = self.select(of)?;
                Ok(self
                    .graph
                    .nodes()
                    .map(|(ix, _)| ix)
                    .filter(|ix| !others.contains(ix))
                    .collect())
            }
            Expression::And(members) => {
                let (first, others) = members.split_first().expect("a combination has members");
                let mut selected = self.select(first)?;
                for member in others {
                    let other = self.select(member)?;
                    selected.retain(|ix| other.contains(ix));
                }
                Ok(selected)
            }
            Expression::Or(members) => {
                let mut selected = BTreeSet::new();
                for member in members {
                    selected.extend(self.select(member)?);
                }
                Ok(selected)
            }
        }
    }

    fn term(&self, term: &Term) -> Result<BTreeSet<NodeIx>> {
        match term {
            Term::Name(pattern) => match pattern.as_exact() {
                Some(name) => Ok(BTreeSet::from([self.graph.find(name)?])),
                None => self.fitting(pattern, "asset", |node| vec![node.key().as_str()]),
            },
            Term::Group(pattern) => self.fitting(pattern, "group", |node| node.group().into_iter().collect()),
            Term::Tag(pattern) => self.fitting(pattern, "tag", |node| node.tags().iter().map(String::as_str).collect()),
        }
    }

    fn fitting(&self, pattern: &Pattern, what: &str, names: impl Fn(&Node) -> Vec<&str>) -> Result<BTreeSet<NodeIx>> {
        let fits = |node: &Node| names(node).into_iter().any(|name| pattern.fits(name));
        let found: BTreeSet<NodeIx> = self
            .graph
            .nodes()
            .filter(|(_, node)| fits(node))
            .map(|(ix, _)| ix)
            .collect();
        // A single star asks for all there are, be that none.
        if pattern.is_any() || !found.is_empty() {
            return Ok(found);
        }
        let known = self.graph.nodes().flat_map(|(_, node)| names(node));
        let (message, near) = match pattern.as_exact() {
            Some(name) => (format!("no {what} is called {name:?}"), nearest(name, known)),
            None => (format!("the name of no {what} fits {pattern}"), None),
        };
        let fix = match near {
            Some(near) => format!("did you mean {near:?}?"),
            None => "`list` shows all assets".to_owned(),
        };
        Err(Error::new(ErrorKind::NotFound, message)
            .code("selection_unmatched")
            .fix(fix))
    }

    /// `from` and what is up to so many steps away.
    fn widen(&self, from: &BTreeSet<NodeIx>, reach: Reach, next: impl Fn(&Node) -> Vec<NodeIx>) -> BTreeSet<NodeIx> {
        let mut seen = from.clone();
        let mut edge: Vec<NodeIx> = from.iter().copied().collect();
        let mut steps_left = match reach {
            Reach::Steps(steps) => steps,
            Reach::All => u32::MAX,
        };
        while steps_left > 0 && !edge.is_empty() {
            let reached = edge.iter().flat_map(|ix| next(self.graph.node(*ix)));
            edge = reached.filter(|ix| seen.insert(*ix)).collect();
            steps_left -= 1;
        }
        seen
    }
}
