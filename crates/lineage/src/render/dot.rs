//! Graphviz digraphs.

use std::fmt::{self, Write};

use super::picture::{Node, Picture};

pub(super) fn draw(name: &str, picture: &Picture) -> String {
    let mut text = String::new();
    write(name, picture, &mut text).expect("writing to a string cannot fail");
    text
}

fn write(name: &str, picture: &Picture, out: &mut String) -> fmt::Result {
    writeln!(out, "digraph {name} {{\n  rankdir=LR;\n  node [shape=box];")?;
    for (number, (group, members)) in picture.groups().into_iter().enumerate() {
        let indent = match group {
            Some(name) => {
                writeln!(out, "  subgraph cluster_{number} {{\n    label=\"{}\";", escaped(name))?;
                "    "
            }
            None => "  ",
        };
        for index in members {
            let node = &picture.nodes[index];
            let style = if node.is_subject { ", penwidth=3" } else { "" };
            writeln!(out, "{indent}n{index} [label=\"{}\"{style}];", label(node))?;
        }
        if group.is_some() {
            writeln!(out, "  }}")?;
        }
    }
    for edge in &picture.edges {
        let style = if edge.is_optional { " [style=dashed]" } else { "" };
        writeln!(out, "  n{} -> n{}{style};", edge.upstream, edge.downstream)?;
    }
    for (index, node) in picture.nodes.iter().enumerate() {
        if let Some(note) = &node.note {
            writeln!(out, "  m{index} [label=\"{}\", shape=plaintext];", escaped(note))?;
            let (upstream, downstream) = picture.growth.edge_to(format!("n{index}"), format!("m{index}"));
            writeln!(out, "  {upstream} -> {downstream} [style=dotted, arrowhead=none];")?;
        }
    }
    writeln!(out, "}}")
}

fn label(node: &Node) -> String {
    match &node.detail {
        Some(detail) => format!("{}\\n{}", escaped(&node.name), escaped(detail)),
        None => escaped(&node.name),
    }
}

/// For text between quotes, in which Graphviz knows backslashes and the entities of HTML. Line breaks and other control
/// characters do not come here: names and labels are written on one line before.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '&' => escaped.push_str("&amp;"),
            c => escaped.push(c),
        }
    }
    escaped
}
