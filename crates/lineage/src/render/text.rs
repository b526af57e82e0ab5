//! The text tree.
//!
//! What was drawn already is only named again, so every edge is drawn once. What would stand too far to the right begins
//! again at the left.

use std::collections::VecDeque;

use super::picture::Picture;

/// How many levels stand below a root at most.
const LEVELS_MAX: usize = 50;

pub(super) fn draw(picture: &Picture) -> String {
    let below = picture.below();
    let mut places: Vec<Option<Place>> = vec![None; picture.nodes.len()];
    let mut roots: VecDeque<usize> = picture.roots.iter().copied().collect();
    let mut text = String::new();
    while let Some(root) = roots.pop_front() {
        places[root] = None;
        // The line to write next is the last.
        let mut lines = vec![Line {
            stem: String::new(),
            fork: "",
            level: 0,
            content: Content::Node(root),
        }];
        while let Some(line) = lines.pop() {
            text.push_str(&line.stem);
            text.push_str(line.fork);
            match line.content {
                Content::Note(note) => text.push_str(note),
                Content::Node(node) => {
                    text.push_str(&picture.nodes[node].line);
                    let branches = branches(picture, &below, node);
                    if places[node].is_none() && line.level == LEVELS_MAX && !branches.is_empty() {
                        places[node] = Some(Place::Below);
                        roots.push_back(node);
                    }
                    match places[node] {
                        Some(Place::Above) => text.push_str(" (see above)"),
                        Some(Place::Below) => text.push_str(" (see below)"),
                        None => {
                            places[node] = Some(Place::Above);
                            lines.extend(line.branches(&branches));
                        }
                    }
                }
            }
            text.push('\n');
        }
    }
    text
}

/// Where what stands below a node is drawn.
#[derive(Clone, Copy)]
enum Place {
    Above,
    Below,
}

#[derive(Clone, Copy)]
enum Content<'a> {
    Node(usize),
    Note(&'a str),
}

fn branches<'a>(picture: &'a Picture, below: &[Vec<usize>], node: usize) -> Vec<Content<'a>> {
    let note = picture.nodes[node].note.as_deref();
    below[node]
        .iter()
        .map(|node| Content::Node(*node))
        .chain(note.map(Content::Note))
        .collect()
}

struct Line<'a> {
    /// What leads on from the lines above to lines below.
    stem: String,
    fork: &'static str,
    level: usize,
    content: Content<'a>,
}

const FORK: &str = "├─ ";
const LAST_FORK: &str = "└─ ";

impl<'a> Line<'a> {
    /// The lines that branch off this one, last first.
    fn branches(&self, contents: &[Content<'a>]) -> Vec<Line<'a>> {
        let lead = match self.fork {
            FORK => "│  ",
            LAST_FORK => "   ",
            _ => "",
        };
        let stem = format!("{}{lead}", self.stem);
        let forks = std::iter::once(LAST_FORK).chain(std::iter::repeat(FORK));
        let level = self.level + 1;
        let lines = contents.iter().rev().zip(forks);
        lines
            .map(|(content, fork)| Line {
                stem: stem.clone(),
                fork,
                level,
                content: *content,
            })
            .collect()
    }
}
