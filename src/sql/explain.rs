//! A job graph as text, like the optimized plan of Flink's `EXPLAIN`: with the kinds of rows where an operator emits others
//! than insertions (`changelogMode=[I,UB,UA]`), and below the trees the state that grows or is freed.

use std::collections::HashMap;
use std::fmt::Write;

use crate::graph::{Exchange, JobGraph, OperatorKind, StateBound, Vertex};

/// A tree for each sink; a vertex with several consumers is written out once and referred to afterwards.
pub fn explain(graph: &JobGraph) -> String {
    let mut consumers = vec![0usize; graph.vertices.len()];
    for edge in &graph.edges {
        if let Some(count) = consumers.get_mut(edge.from) {
            *count += 1;
        }
    }
    let mut printer = Printer { graph, consumers, reused: HashMap::new(), out: String::new() };
    for (index, vertex) in graph.vertices.iter().enumerate() {
        if matches!(vertex.operators.last().map(|o| &o.kind), Some(OperatorKind::Sink(_))) {
            if !printer.out.is_empty() {
                printer.out.push('\n');
            }
            printer.vertex(index, vertex, 0);
        }
    }
    for operator in graph.vertices.iter().flat_map(|v| &v.operators) {
        if let Some(state) = operator.kind.state().filter(|s| s.bound != StateBound::EventTime) {
            if !printer.out.contains(STATE) {
                printer.out.push_str(STATE);
            }
            let name = operator.name.split('(').next().unwrap_or_default();
            let _ = writeln!(printer.out, "{name}: {}, {}", state.keeps, state.bound.describe());
        }
    }
    printer.out
}

/// The head of the list of states.
const STATE: &str = "\n== State ==\n";

struct Printer<'a> {
    graph: &'a JobGraph,
    consumers: Vec<usize>,
    /// Reference numbers of vertices that were written out.
    reused: HashMap<usize, usize>,
    out: String,
}

impl Printer<'_> {
    fn line(&mut self, depth: usize, text: &str) {
        if depth > 0 {
            self.out.push_str(&"   ".repeat(depth - 1));
            self.out.push_str("+- ");
        }
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn vertex(&mut self, index: usize, vertex: &Vertex, mut depth: usize) {
        if let Some(reference) = self.reused.get(&index) {
            let text = format!("Reused(reference_id=[{reference}])");
            return self.line(depth, &text);
        }
        let mut suffix = String::new();
        if self.consumers.get(index).is_some_and(|c| *c > 1) {
            let reference = self.reused.len() + 1;
            self.reused.insert(index, reference);
            let _ = write!(suffix, "(reuse_id=[{reference}])");
        }
        for operator in vertex.operators.iter().rev() {
            let mut name = operator.name.clone();
            if let Some(mode) = self.graph.changelog.get(&operator.id).filter(|m| !m.is_insert_only()) {
                let end = name.strip_suffix(')').map_or(name.len(), str::len);
                name.insert_str(end, &format!(", changelogMode=[{}]", mode.to_string().trim_matches(['[', ']'])));
            }
            let text = format!("{name}{}", std::mem::take(&mut suffix));
            self.line(depth, &text);
            depth += 1;
        }
        let inputs: Vec<_> = self.graph.edges.iter().filter(|e| e.to == index).cloned().collect();
        if inputs.len() > 1 {
            self.line(depth, "Union(all=[true])");
            depth += 1;
        }
        for edge in inputs {
            let Some(from) = self.graph.vertices.get(edge.from) else { continue };
            let output = from.operators.last().map(|o| &o.output);
            match &edge.exchange {
                Exchange::Forward => self.vertex(edge.from, from, depth),
                Exchange::Global => {
                    self.line(depth, "Exchange(distribution=[single])");
                    self.vertex(edge.from, from, depth + 1);
                }
                Exchange::Hash { keys } => {
                    let name = |k: &usize| output.and_then(|o| o.fields.get(*k)).map_or("?", |f| f.name.as_str());
                    let keys: Vec<&str> = keys.iter().map(name).collect();
                    let text = format!("Exchange(distribution=[hash[{}]])", keys.join(", "));
                    self.line(depth, &text);
                    self.vertex(edge.from, from, depth + 1);
                }
            }
        }
    }
}
