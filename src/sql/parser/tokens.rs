//! The tokenizer's output, cut down to Flink's lexis.
//!
//! Invariants of the result: (1) no whitespace and no comment but hints (`/*+ … */`); (2) only tokens that Flink's
//! grammar knows; (3) a word keeps its `Keyword` only if Flink's query grammar uses it: `sqlparser` takes the others
//! (`TOP`, `ILIKE`, `PIVOT`, `QUALIFY`, …) for plain names, and the sentence fails where they stand; (4) `>>` is two
//! tokens, since it can only close two types; (5) the last token is `EOF`, at the end of the text; (6) brackets nest at
//! most [`MAX_NESTING`] deep (`sqlparser` guards only some of its recursions).

use sqlparser::keywords::Keyword;
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace, Word};

use super::dialect::FlinkDialect;
use super::error::{Parsed, convert, convert_tokenizer, shown, syntax};
use super::{MAX_CHAIN, MAX_NESTING};
use crate::error::{Error, Result};

/// A script's tokens.
pub(super) struct Tokenized {
    pub tokens: Vec<TokenWithSpan>,
    /// The first token that Flink has not; the parser may find an earlier mistake.
    pub refused: Option<Error>,
    /// Where the text ends.
    pub end: Location,
}

/// Reads a script's tokens.
pub(super) fn tokenize(sql: &str) -> Result<Tokenized> {
    let all = Tokenizer::new(&FlinkDialect, sql).tokenize_with_location().map_err(|e| convert_tokenizer(&e))?;
    let lines: Vec<&str> = sql.split('\n').collect();
    let mut tokens = Vec::with_capacity(all.len() + 1);
    let mut refused = None;
    let mut limits = Limits::default();
    let mut end = Location { line: 1, column: 1 };
    for token in all {
        let TokenWithSpan { token, span } = token;
        if let Token::Whitespace(space) = &token {
            if is_hint(space) {
                tokens.push(TokenWithSpan { token, span });
            }
            continue;
        }
        end = span.end;
        limits.count(&token).map_err(|e| convert(e, span.start))?;
        match accepted(&token, span.start, &lines) {
            Ok(()) => push(&mut tokens, token, span),
            Err(e) => {
                refused.get_or_insert_with(|| convert(e, span.start));
                tokens.push(TokenWithSpan { token, span });
            }
        }
    }
    tokens.push(TokenWithSpan { token: Token::EOF, span: Span::new(end, end) });
    Ok(Tokenized { tokens, refused, end })
}

fn is_hint(space: &Whitespace) -> bool {
    matches!(space, Whitespace::MultiLineComment(text) if text.starts_with('+'))
}

fn push(tokens: &mut Vec<TokenWithSpan>, token: Token, span: Span) {
    let token = match token {
        Token::ShiftRight => {
            let middle = Location { line: span.start.line, column: span.start.column + 1 };
            tokens.push(TokenWithSpan { token: Token::Gt, span: Span::new(span.start, middle) });
            tokens.push(TokenWithSpan { token: Token::Gt, span: Span::new(middle, span.end) });
            return;
        }
        Token::UnicodeStringLiteral(text) => Token::SingleQuotedString(text),
        Token::Word(word) if !is_query_keyword(word.keyword) => {
            Token::Word(Word { keyword: Keyword::NoKeyword, ..word })
        }
        other => other,
    };
    tokens.push(TokenWithSpan { token, span });
}

/// Refuses what Flink's lexis has not.
fn accepted(token: &Token, start: Location, lines: &[&str]) -> Parsed<()> {
    match token {
        Token::Word(word) if word.quote_style == Some('"') => syntax(
            start,
            format!("double quotes are not used: write `{0}` for a name, or '{0}' for a string", word.value),
        ),
        Token::Word(_)
        | Token::Number(_, false)
        | Token::SingleQuotedString(_)
        | Token::UnicodeStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::Comma
        | Token::Eq
        | Token::Lt
        | Token::Gt
        | Token::LtEq
        | Token::GtEq
        | Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::StringConcat
        | Token::LParen
        | Token::RParen
        | Token::LBracket
        | Token::RBracket
        | Token::LBrace
        | Token::RBrace
        | Token::Pipe
        | Token::Period
        | Token::SemiColon
        | Token::RArrow
        | Token::ShiftRight
        | Token::EOF => Ok(()),
        // A quantifier of MATCH_RECOGNIZE.
        Token::Placeholder(text) if text == "?" => Ok(()),
        Token::Question => Ok(()),
        Token::Neq if is_bang(start, lines) => syntax(start, "`!=` is not an operator: write `<>`"),
        Token::Neq => Ok(()),
        Token::DoubleColon => syntax(start, "`::` is not an operator: write CAST(… AS type)"),
        Token::DoubleEq => syntax(start, "`==` is not an operator: write `=`"),
        other => syntax(start, format!("unexpected {}", shown(other))),
    }
}

fn is_bang(start: Location, lines: &[&str]) -> bool {
    let text = |n: u64| usize::try_from(n).ok().and_then(|n| n.checked_sub(1));
    let line = text(start.line).and_then(|n| lines.get(n));
    line.zip(text(start.column)).and_then(|(line, n)| line.chars().nth(n)) == Some('!')
}

/// Counts what could make a tree too deep.
#[derive(Default)]
struct Limits {
    open: usize,
    /// Set operators, and alternatives of a pattern: both recurse once each.
    chained: usize,
}

impl Limits {
    fn count(&mut self, token: &Token) -> Parsed<()> {
        match token {
            Token::LParen | Token::LBracket => self.open += 1,
            Token::RParen | Token::RBracket => self.open = self.open.saturating_sub(1),
            Token::SemiColon => *self = Limits::default(),
            Token::Pipe => self.chained += 1,
            Token::Word(Word { keyword: Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT, .. }) => {
                self.chained += 1;
            }
            _ => {}
        }
        if self.chained > MAX_CHAIN {
            return Err(ParserError::ParserError(format!(
                "the statement has more than {MAX_CHAIN} set operators: split it with views"
            )));
        }
        if self.open > MAX_NESTING { Err(ParserError::RecursionLimitExceeded) } else { Ok(()) }
    }
}

/// The keywords by which `sqlparser` may parse Flink's queries.
fn is_query_keyword(keyword: Keyword) -> bool {
    use Keyword as K;
    // Queries.
    matches!(
        keyword,
        K::SELECT | K::DISTINCT | K::ALL | K::FROM | K::WHERE | K::GROUP | K::BY | K::HAVING | K::ORDER | K::ASC | K::DESC
            | K::NULLS | K::FIRST | K::LAST | K::LIMIT | K::OFFSET | K::FETCH | K::NEXT | K::ROW | K::ROWS | K::ONLY
            | K::UNION | K::EXCEPT | K::INTERSECT | K::WITH | K::RECURSIVE | K::AS | K::VALUES | K::TABLE
            | K::GROUPING | K::SETS | K::CUBE | K::ROLLUP
    ) // Tables and joins.
        || matches!(
            keyword,
            K::JOIN | K::INNER | K::LEFT | K::RIGHT | K::FULL | K::OUTER | K::CROSS | K::NATURAL | K::ON | K::USING
                | K::LATERAL | K::UNNEST | K::ORDINALITY | K::FOR | K::SYSTEM_TIME | K::OF | K::MATCH_RECOGNIZE
                | K::PARTITION | K::MEASURES | K::ONE | K::PER | K::MATCH | K::AFTER | K::SKIP | K::PAST | K::TO
                | K::PATTERN | K::DEFINE
        ) // Expressions.
        || matches!(
            keyword,
            K::AND | K::OR | K::NOT | K::IN | K::EXISTS | K::BETWEEN | K::LIKE | K::SIMILAR | K::ESCAPE | K::IS | K::NULL
                | K::TRUE | K::FALSE | K::UNKNOWN | K::CASE | K::WHEN | K::THEN | K::ELSE | K::END | K::EXTRACT | K::CEIL
                | K::FLOOR | K::SUBSTRING | K::SUBSTR | K::OVERLAY | K::PLACING | K::TRIM | K::BOTH | K::LEADING
                | K::TRAILING | K::ARRAY | K::DATE | K::TIME | K::TIMESTAMP | K::CURRENT_TIMESTAMP | K::CURRENT_TIME
                | K::CURRENT_DATE | K::LOCALTIME | K::LOCALTIMESTAMP | K::OVERLAPS | K::ANY | K::SOME
        ) // Aggregates and windows.
        || matches!(
            keyword,
            K::FILTER | K::OVER | K::WINDOW | K::RANGE | K::PRECEDING | K::FOLLOWING | K::UNBOUNDED | K::CURRENT
                | K::IGNORE | K::RESPECT | K::WITHIN
        ) // Units of time.
        || matches!(
            keyword,
            K::YEAR | K::QUARTER | K::MONTH | K::WEEK | K::DAY | K::HOUR | K::MINUTE | K::SECOND | K::MILLISECOND
                | K::MICROSECOND | K::NANOSECOND | K::CENTURY | K::DECADE | K::MILLENNIUM | K::DOY | K::DOW | K::ISODOW
                | K::ISOYEAR | K::EPOCH | K::YEARS | K::MONTHS | K::WEEKS | K::DAYS | K::HOURS
                | K::MINUTES | K::SECONDS
        )
}
