//! One pass over the tokens that knows where tables are named.
//!
//! - `t /*+ OPTIONS('k' = 'v') */` becomes `t ('k' = 'v')`, which `sqlparser` keeps as the table's `args`; any other hint
//!   must follow `SELECT`, where it keeps it as text.
//! - `default_catalog`.`default_database`.t becomes `t`; another qualifier is refused.
//! - `PATTERN (…) WITHIN INTERVAL … DEFINE` becomes `PATTERN (…) DEFINE __WITHIN AS INTERVAL …,`.
//! - `SUBSET u = (a, b), …` after a pattern becomes `DEFINE __SUBSET AS __SUBSET(u, a, b), …`; `SKIP TO b` becomes
//!   `SKIP TO LAST b`; `FINAL LAST(…)` becomes `__FINAL_LAST(…)`, and likewise `RUNNING`.
//! - The places of `FROM (SELECT …` are noted, for better errors.
//! - `FROM ((SELECT …))` and `IN ((SELECT …))` lose the outer pair; `((SELECT …` that is still open to two readings may
//!   nest only [`MAX_AMBIGUOUS`] deep: `sqlparser` parses it once for each reading, so twice at each level.
//!
//! Spans stay those of the text. The pass must follow only so much grammar as to tell a table from a column: it keeps,
//! for each open parenthesis, whether a `SELECT` was seen and whether its `FROM` clause is being read.

use std::collections::HashSet;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace};

use super::cursor::{ONLY_DEFAULT_DATABASE, begins_query, is_clause_word, is_default_database, is_word, unquoted};
use super::dialect::FlinkDialect;
use super::error::{Parsed, convert, expected, shown, syntax, unsupported};
use crate::error::{Error, Result};

/// At most `2^MAX_AMBIGUOUS` times the work.
const MAX_AMBIGUOUS: usize = 6;

/// A script's tokens for `sqlparser`.
pub(super) struct Rewritten {
    pub tokens: Vec<TokenWithSpan>,
    /// The first construct that is refused; the parser may find an earlier mistake.
    pub refused: Option<Error>,
    /// Where in `tokens` the parenthesis of a derived table opens.
    pub subqueries: Vec<usize>,
}

/// See the module text.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Result<Rewritten> {
    let mut pass = Pass {
        closed_by: closing_parentheses(&tokens),
        input: tokens,
        at: 0,
        out: Vec::new(),
        levels: vec![Level::default()],
        within: None,
        subsets: Vec::new(),
        refused: None,
        subqueries: Vec::new(),
        dropped: HashSet::new(),
    };
    let mut table = false;
    while pass.at < pass.input.len() {
        table = pass.step(table);
        if pass.level().ambiguous > MAX_AMBIGUOUS {
            let start = pass.out.last().map_or(Location::new(1, 1), |t| t.span.start);
            let message = "parentheses around subqueries nest too deep: name the subqueries with WITH";
            return Err(pass.refused.unwrap_or(Error::invalid("sql_syntax", message).at_sql(start.line, start.column)));
        }
    }
    Ok(Rewritten { tokens: pass.out, refused: pass.refused, subqueries: pass.subqueries })
}

/// For each opening parenthesis, where it closes.
fn closing_parentheses(tokens: &[TokenWithSpan]) -> Vec<Option<usize>> {
    let mut closed_by = vec![None; tokens.len()];
    let mut open = Vec::new();
    for (n, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => open.push(n),
            Token::RParen => {
                if let Some(opened) = open.pop() {
                    closed_by[opened] = Some(n);
                }
            }
            Token::SemiColon => open.clear(),
            _ => {}
        }
    }
    closed_by
}

/// Puts `LATERAL` before derived tables, by which `sqlparser` must parse a query there.
pub(super) fn force_subqueries(tokens: Vec<TokenWithSpan>, subqueries: &[usize]) -> Vec<TokenWithSpan> {
    let mut out = Vec::with_capacity(tokens.len() + subqueries.len());
    let mut next = subqueries.iter().peekable();
    for (n, token) in tokens.into_iter().enumerate() {
        if next.next_if(|at| **at == n).is_some() {
            out.push(TokenWithSpan { token: Token::make_keyword("LATERAL"), span: token.span });
        }
        out.push(token);
    }
    out
}

/// What is known inside of one pair of parentheses.
#[derive(Default, Clone, Copy)]
struct Level {
    select_seen: bool,
    in_from: bool,
    /// How many of the open parentheses may open a query or something else.
    ambiguous: usize,
}

struct Pass {
    input: Vec<TokenWithSpan>,
    closed_by: Vec<Option<usize>>,
    at: usize,
    out: Vec<TokenWithSpan>,
    levels: Vec<Level>,
    /// The tokens of a `WITHIN` that wait for `DEFINE`.
    within: Option<Vec<TokenWithSpan>>,
    /// The tokens of `SUBSET` that wait for `DEFINE`.
    subsets: Vec<TokenWithSpan>,
    refused: Option<Error>,
    subqueries: Vec<usize>,
    /// The closing parentheses that go with dropped ones.
    dropped: HashSet<usize>,
}

impl Pass {
    /// Takes one token, or one construct. `table`: a table is named here. Returns whether the next token names one.
    fn step(&mut self, table: bool) -> bool {
        let token = self.input[self.at].clone();
        match &token.token {
            Token::LParen => return self.open(table),
            Token::RParen if self.dropped.contains(&self.at) => {
                self.at += 1;
                return false;
            }
            Token::RParen if self.levels.len() > 1 => {
                self.levels.pop();
            }
            Token::SemiColon => self.levels = vec![Level::default()],
            Token::LBrace if *self.peek(1) == Token::Minus => {
                let message = "the exclusion {- … -} in a pattern is not supported: leave the rows out of MEASURES";
                self.refuse(unsupported(token.span.start, message));
            }
            Token::Comma if self.level().in_from => {
                self.copy();
                return true;
            }
            Token::Whitespace(_) if self.out.last().is_none_or(|last| !is_word(&last.token, "SELECT")) => {
                let message = "a hint may stand after SELECT, or after a table's name in FROM";
                self.refuse(unsupported(token.span.start, message));
            }
            Token::SingleQuotedString(_) if self.is_alias() => {
                let refusal = syntax(
                    token.span.start,
                    format!("unexpected {}: a name is written in backticks", shown(&token.token)),
                );
                self.refuse(refusal);
            }
            Token::Word(_) if table => return self.table(),
            Token::Word(_) if !self.after_period() => return self.word(&token),
            _ => {}
        }
        self.copy();
        false
    }

    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    fn peek(&self, n: usize) -> &Token {
        self.input.get(self.at + n).map_or(&Token::EOF, |t| &t.token)
    }

    fn after_period(&self) -> bool {
        self.out.last().is_some_and(|last| last.token == Token::Period)
    }

    /// Whether a string at this place could only be a name: `sqlparser` would take it for one.
    fn is_alias(&mut self) -> bool {
        if !self.level().select_seen {
            return self.after_period();
        }
        match self.out.last().map(|last| &last.token) {
            Some(last @ Token::Word(word)) => match word.keyword {
                Keyword::NoKeyword => !is_word(last, "INTERVAL"),
                Keyword::AS | Keyword::END | Keyword::NULL | Keyword::TRUE | Keyword::FALSE => true,
                _ => false,
            },
            Some(
                Token::RParen | Token::RBracket | Token::Number(..) | Token::SingleQuotedString(_) | Token::Period,
            ) => true,
            _ => false,
        }
    }

    fn copy(&mut self) {
        if let Some(token) = self.input.get(self.at) {
            self.out.push(token.clone());
        }
        self.at += 1;
    }

    fn refuse(&mut self, refusal: Parsed<()>) {
        if let Err(e) = refusal {
            self.refused.get_or_insert_with(|| convert(e, Location::empty()));
        }
    }

    fn open(&mut self, table: bool) -> bool {
        let mut ambiguous = self.level().ambiguous;
        if table || self.out.last().is_some_and(|last| is_word(&last.token, "IN")) {
            self.drop_redundant();
            ambiguous += usize::from(*self.peek(1) == Token::LParen && self.leads_to_query());
        }
        let query = begins_query(self.peek(1));
        if table && query {
            self.subqueries.push(self.out.len());
        }
        self.levels.push(Level { select_seen: false, in_from: table && !query, ambiguous });
        self.copy();
        table && !query
    }

    /// Moves on from `((query))` to `(query)`.
    fn drop_redundant(&mut self) {
        let closed_by = |at: usize| self.closed_by.get(at).copied().flatten();
        let mut at = self.at;
        let mut dropped = Vec::new();
        while let (Some(outer), Some(inner)) = (closed_by(at), closed_by(at + 1))
            && outer == inner + 1
        {
            dropped.push(outer);
            at += 1;
        }
        if dropped.is_empty() || !self.leads_to_query() {
            return;
        }
        self.at = at;
        self.dropped.extend(dropped);
    }

    /// Whether a query begins after the parentheses that open here.
    fn leads_to_query(&self) -> bool {
        let mut rest = self.input.iter().skip(self.at).skip_while(|t| t.token == Token::LParen);
        rest.next().is_some_and(|t| begins_query(&t.token))
    }

    fn word(&mut self, token: &TokenWithSpan) -> bool {
        let Token::Word(word) = &token.token else { return false };
        let after_distinct = self.out.last().is_some_and(|last| is_word(&last.token, "DISTINCT"));
        let level = self.level();
        let mut names_table = false;
        match word.keyword {
            Keyword::SELECT => *level = Level { select_seen: true, in_from: false, ..*level },
            // Not that of EXTRACT, TRIM or IS DISTINCT FROM.
            Keyword::FROM if level.select_seen && !after_distinct => {
                level.in_from = true;
                names_table = true;
            }
            Keyword::JOIN if level.in_from => names_table = true,
            Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::OFFSET
            | Keyword::FETCH
            | Keyword::WINDOW
            | Keyword::UNION
            | Keyword::EXCEPT
            | Keyword::INTERSECT => level.in_from = false,
            Keyword::WITHIN if is_word(self.peek(1), "INTERVAL") => {
                self.take_within();
                return false;
            }
            Keyword::DEFINE if self.within.is_some() || !self.subsets.is_empty() => {
                self.copy();
                self.put_within();
                self.out.append(&mut self.subsets);
                return false;
            }
            Keyword::TO if self.out.last().is_some_and(|last| is_word(&last.token, "SKIP")) => {
                let span = self.input[self.at].span;
                self.copy();
                let next = self.peek(0);
                if matches!(next, Token::Word(_)) && !["NEXT", "FIRST", "LAST"].iter().any(|word| is_word(next, word)) {
                    self.out.push(TokenWithSpan { token: Token::make_keyword("LAST"), span });
                }
                return false;
            }
            _ if self.take_subset() || self.take_semantics() => return false,
            _ => {}
        }
        self.copy();
        names_table
    }

    /// A table reference that begins with a word.
    fn table(&mut self) -> bool {
        let start = self.input[self.at].span.start;
        if is_word(self.peek(0), "LATERAL") {
            self.copy();
            return *self.peek(0) == Token::LParen;
        }
        if is_clause_word(self.peek(0)) {
            let refusal = expected("a table", &self.input[self.at]);
            self.refuse(refusal);
            self.copy();
            return false;
        }
        if *self.peek(1) == Token::LParen {
            self.copy();
            return false;
        }
        let mut qualifier: Vec<String> = Vec::new();
        while let (Token::Word(part), Token::Period, Token::Word(_)) = (self.peek(0), self.peek(1), self.peek(2)) {
            qualifier.push(part.value.clone());
            self.at += 2;
        }
        if !is_default_database(&qualifier.iter().map(String::as_str).collect::<Vec<_>>()) {
            self.refuse(unsupported(start, ONLY_DEFAULT_DATABASE));
        }
        self.copy();
        if let Token::Whitespace(Whitespace::MultiLineComment(hint)) = self.peek(0) {
            let hint = hint.clone();
            let span = self.input[self.at].span;
            match options(&hint, span) {
                Ok(tokens) => self.out.extend(tokens),
                Err(e) => self.refuse(Err(e)),
            }
            self.at += 1;
        }
        false
    }

    fn take_within(&mut self) {
        let mut taken = Vec::new();
        self.at += 1;
        while !matches!(self.peek(0), Token::EOF | Token::SemiColon | Token::RParen) && !is_word(self.peek(0), "DEFINE")
        {
            taken.push(self.input[self.at].clone());
            self.at += 1;
        }
        if is_word(self.peek(0), "DEFINE") {
            self.within = Some(taken);
        } else {
            let refusal = expected("DEFINE", &self.input[self.at.min(self.input.len() - 1)]);
            self.refuse(refusal);
            self.out.extend(taken);
        }
    }

    /// `SUBSET u = (a, b), …` between a pattern and `DEFINE`; the word is a name elsewhere.
    fn take_subset(&mut self) -> bool {
        let is_clause = is_word(self.peek(0), "SUBSET")
            && matches!(self.peek(1), Token::Word(_))
            && *self.peek(2) == Token::Eq
            && *self.peek(3) == Token::LParen;
        if !is_clause {
            return false;
        }
        self.at += 1;
        while matches!(self.peek(0), Token::Word(_)) && *self.peek(1) == Token::Eq && *self.peek(2) == Token::LParen {
            let name = self.input[self.at].clone();
            let put = |token| TokenWithSpan { token, span: name.span };
            self.subsets.extend([
                put(Token::make_keyword("__SUBSET")),
                put(Token::make_keyword("AS")),
                put(Token::make_keyword("__SUBSET")),
                put(Token::LParen),
                name.clone(),
                put(Token::Comma),
            ]);
            self.at += 3;
            while !matches!(self.peek(0), Token::EOF | Token::SemiColon | Token::RParen) {
                self.subsets.push(self.input[self.at].clone());
                self.at += 1;
            }
            if *self.peek(0) == Token::RParen {
                self.subsets.push(self.input[self.at].clone());
                self.at += 1;
            }
            self.subsets.push(TokenWithSpan { token: Token::Comma, span: name.span });
            if *self.peek(0) == Token::Comma {
                self.at += 1;
            }
        }
        if !is_word(self.peek(0), "DEFINE") && !is_word(self.peek(0), "WITHIN") {
            let refusal = expected("DEFINE", &self.input[self.at.min(self.input.len() - 1)]);
            self.refuse(refusal);
        }
        true
    }

    /// `FINAL` or `RUNNING` before a function of a measure.
    fn take_semantics(&mut self) -> bool {
        let prefix = ["FINAL", "RUNNING"].into_iter().find(|word| is_word(self.peek(0), word));
        let (Some(prefix), Token::Word(function), Token::LParen) = (prefix, self.peek(1), self.peek(2)) else {
            return false;
        };
        let token = Token::make_word(&format!("__{prefix}_{}", function.value), None);
        let span = self.input[self.at].span;
        self.out.push(TokenWithSpan { token, span });
        self.at += 2;
        true
    }

    fn put_within(&mut self) {
        let Some(taken) = self.within.take() else { return };
        let Some(span) = taken.first().map(|t| t.span) else { return };
        let put = |token| TokenWithSpan { token, span };
        self.out.extend([put(Token::make_keyword("__WITHIN")), put(Token::make_keyword("AS"))]);
        self.out.extend(taken);
        self.out.push(put(Token::Comma));
    }
}

/// `OPTIONS('k' = 'v', …)` of a hint after a table, without the word.
fn options(hint: &str, span: Span) -> Parsed<Vec<TokenWithSpan>> {
    let start = span.start;
    let body = hint.get(1..).unwrap_or_default();
    let tokens = match Tokenizer::new(&FlinkDialect, body).tokenize_with_location() {
        Ok(tokens) => tokens,
        Err(e) => return syntax(shifted(e.location, start), e.message),
    };
    let mut tokens: Vec<TokenWithSpan> = tokens
        .into_iter()
        .filter(|t| !matches!(t.token, Token::Whitespace(_)))
        .map(|t| TokenWithSpan {
            span: Span::new(shifted(t.span.start, start), shifted(t.span.end, start)),
            token: t.token,
        })
        .collect();
    let end = tokens.last().map_or(start, |t| t.span.end);
    match tokens.first() {
        Some(first) if is_word(&first.token, "OPTIONS") => {
            tokens.remove(0);
        }
        Some(first) => {
            let name = unquoted(&first.token).unwrap_or("this").to_ascii_uppercase();
            return unsupported(
                first.span.start,
                format!("after a table only the hint OPTIONS(…) can stand, not {name}"),
            );
        }
        None => return syntax(start, "expected OPTIONS('key' = 'value'), found the end of the hint"),
    }
    check_options(&tokens, end)?;
    Ok(tokens)
}

/// `('k' = 'v' [, …])` and nothing more.
fn check_options(tokens: &[TokenWithSpan], end: Location) -> Parsed<()> {
    let string = |t: &Token| matches!(t, Token::SingleQuotedString(_));
    let mut next = tokens.iter();
    let mut want = |what: &str, accepted: &dyn Fn(&Token) -> bool| match next.next() {
        Some(t) if accepted(&t.token) => Ok(t),
        Some(t) => expected(what, t),
        None => syntax(end, format!("expected {what}, found the end of the hint")),
    };
    want("`(`", &|t| *t == Token::LParen)?;
    let mut keys: Vec<&Token> = Vec::new();
    loop {
        let key = want("an option's key in single quotes", &string)?;
        if keys.contains(&&key.token) {
            return syntax(key.span.start, format!("the option {} is given twice", key.token));
        }
        keys.push(&key.token);
        want("`=`", &|t| *t == Token::Eq)?;
        want("an option's value in single quotes", &string)?;
        if want("`,` or `)`", &|t| matches!(t, Token::Comma | Token::RParen))?.token == Token::RParen {
            break;
        }
    }
    match next.next() {
        Some(t) => expected("the end of the hint", t),
        None => Ok(()),
    }
}

/// A position inside of a hint, in the script: the hint's text begins after `/*+`.
fn shifted(inner: Location, start: Location) -> Location {
    if inner.line <= 1 {
        Location { line: start.line, column: start.column + 2 + inner.column }
    } else {
        Location { line: start.line + inner.line - 1, column: inner.column }
    }
}
