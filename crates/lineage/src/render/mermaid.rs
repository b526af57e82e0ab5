//! Mermaid flowcharts.
//!
//! Mermaid looks for its own syntax inside quoted text too (comments, directives, styles, entities, markdown), so every
//! character that could begin any is written as an entity.

use std::fmt::{self, Write};

use super::picture::{Node, Picture};

pub(super) fn draw(picture: &Picture) -> String {
    let mut text = String::new();
    write(picture, &mut text).expect("writing to a string cannot fail");
    text
}

fn write(picture: &Picture, out: &mut String) -> fmt::Result {
    writeln!(out, "flowchart LR")?;
    for (number, (group, members)) in picture.groups().into_iter().enumerate() {
        let indent = match group {
            Some(name) => {
                writeln!(out, "  subgraph g{number}[\"{}\"]", escaped(name))?;
                "    "
            }
            None => "  ",
        };
        for index in members {
            writeln!(out, "{indent}n{index}[\"{}\"]", label(&picture.nodes[index]))?;
        }
        if group.is_some() {
            writeln!(out, "  end")?;
        }
    }
    for edge in &picture.edges {
        let arrow = if edge.is_optional { "-.->" } else { "-->" };
        writeln!(out, "  n{} {arrow} n{}", edge.upstream, edge.downstream)?;
    }
    for (index, node) in picture.nodes.iter().enumerate() {
        if let Some(note) = &node.note {
            writeln!(out, "  m{index}([\"{}\"])", escaped(note))?;
            let (upstream, downstream) = picture.growth.edge_to(format!("n{index}"), format!("m{index}"));
            writeln!(out, "  {upstream} -.- {downstream}")?;
        }
        if node.is_subject {
            writeln!(out, "  style n{index} stroke-width:3px")?;
        }
    }
    Ok(())
}

fn label(node: &Node) -> String {
    match &node.detail {
        Some(detail) => format!("{}<br/>{}", escaped(&node.name), escaped(detail)),
        None => escaped(&node.name),
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let after = chars.peek().copied().unwrap_or(' ');
        if is_plain(before, c, after) {
            escaped.push(c);
        } else {
            write!(escaped, "#{};", u32::from(c)).expect("writing to a string cannot fail");
        }
        before = c;
    }
    escaped
}

/// True for a character that means nothing to Mermaid between these two.
fn is_plain(before: char, c: char, after: char) -> bool {
    match c {
        ' ' | ',' | '/' | '(' | ')' | '[' | ']' => true,
        // At the edge of a word these begin or end emphasis or a list.
        '-' | '.' | '_' => [before, after].into_iter().all(|beside| beside != ' ' && beside != '_'),
        c => c.is_alphanumeric(),
    }
}
