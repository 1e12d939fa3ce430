//! The line of a text that an error is about, with a caret under the place.

use std::borrow::Cow;
use std::fmt::Write;

/// Characters shown of a long line: generated SQL is often one line.
const MAX_SHOWN_CHARS: usize = 160;

/// Four lines: where it is, an empty gutter, the line, the caret. Line and column count from 1, the column in characters.
/// Without such a line, only where it is.
pub fn excerpt(name: &str, text: &str, line: u64, column: u64) -> String {
    let mut shown = format!(" --> {}:{line}:{column}", printable(name));
    let index = line.checked_sub(1).and_then(|i| usize::try_from(i).ok());
    let Some(content) = index.and_then(|i| text.lines().nth(i)) else { return shown };
    let at = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
    let count = content.chars().count();
    let at = at.min(count);
    // A window around the place, if the line is too long.
    let start = if count <= MAX_SHOWN_CHARS { 0 } else { at.saturating_sub(MAX_SHOWN_CHARS / 2) };
    let mut before = String::new();
    let mut line_text = String::new();
    if start > 0 {
        line_text.push('…');
        before.push(' ');
    }
    for (i, c) in content.chars().enumerate().skip(start).take(MAX_SHOWN_CHARS) {
        // Tabs stay tabs under tabs, so that the caret stands right whatever their width is.
        let tab = c == '\t';
        let c = if c.is_control() && !tab { '\u{fffd}' } else { c };
        line_text.push(c);
        if i < at {
            before.push(if tab { '\t' } else { ' ' });
        }
    }
    if count > start + MAX_SHOWN_CHARS {
        line_text.push('…');
    }
    let gutter = " ".repeat(line.to_string().len());
    write!(shown, "\n{gutter} |\n{line} | {line_text}\n{gutter} | {before}^").expect("a string takes everything");
    shown
}

/// The text with control characters escaped (but newlines), so that it cannot steer a terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c.is_control() && c != '\n') {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => safe.push(c),
            c if c.is_control() => safe.extend(c.escape_default()),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_column() {
        let check = |text: &str, line, column, expected: &str| assert_eq!(excerpt("f", text, line, column), expected);
        check("SELECT a", 1, 8, " --> f:1:8\n  |\n1 | SELECT a\n  |        ^");
        check("a\nb\r\nc", 2, 1, " --> f:2:1\n  |\n2 | b\n  | ^");
        check("\tx", 1, 2, " --> f:1:2\n  |\n1 | \tx\n  | \t^");
        check("é x", 1, 3, " --> f:1:3\n  |\n1 | é x\n  |   ^");
        // At and behind the end.
        check("ab", 1, 3, " --> f:1:3\n  |\n1 | ab\n  |   ^");
        check("ab", 1, 99, " --> f:1:99\n  |\n1 | ab\n  |   ^");
        check("ab", 7, 1, " --> f:7:1");
        check("ab", 0, 0, " --> f:0:0");
    }

    #[test]
    fn wide_line_numbers_widen_the_gutter() {
        let text = "x\n".repeat(10);
        assert_eq!(excerpt("f", &text, 10, 1), " --> f:10:1\n   |\n10 | x\n   | ^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}!{}", "a".repeat(1_000), "b".repeat(1_000));
        let shown = excerpt("f", &text, 1, 1_001);
        let lines: Vec<Vec<char>> = shown.lines().map(|l| l.chars().collect()).collect();
        let caret = lines[3].iter().position(|c| *c == '^').unwrap();
        assert_eq!(lines[2][caret], '!');
        assert!(lines[2].len() < MAX_SHOWN_CHARS + 10, "{shown}");
        assert_eq!(lines[2].iter().filter(|c| **c == '…').count(), 2);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}b\nc"), "a\\u{1b}b\nc");
        assert!(!excerpt("f", "a\u{1b}[31mb", 1, 1).contains('\u{1b}'));
    }
}
