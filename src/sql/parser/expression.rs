//! Flink's expressions that `sqlparser` has not, or parses too generously.

use sqlparser::ast::{
    CastKind, DateTimeField, Expr, ExtractSyntax, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator,
    FunctionArgumentList, FunctionArguments, Ident, Interval, ObjectName, TrimWhereField, UnaryOperator, Value,
};
use sqlparser::dialect::{Dialect, Precedence};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token};

use super::cursor::{
    at, at_token, begins_query, eat, here, is_clause_word, is_word, list, parenthesized, table_name, unquoted, want,
    want_token,
};
use super::data_type::{cast_target, to_sqlparser};
use super::dialect::FlinkDialect;
use super::error::{Parsed, expected, syntax};
use super::{MAX_CHAIN, json};

/// The hook at the start of an expression; `None` leaves it to `sqlparser`.
pub(super) fn prefix(p: &mut Parser) -> Option<Parsed<Expr>> {
    let token = p.peek_token_ref();
    if is_clause_word(&token.token) {
        return Some(expected("an expression", token));
    }
    let word = match &token.token {
        Token::LBrace | Token::LBracket | Token::Question | Token::Placeholder(_) => {
            return Some(expected("an expression", token));
        }
        other => unquoted(other)?.to_ascii_uppercase(),
    };
    let called = at_token(p, 1, &Token::LParen);
    match word.as_str() {
        "CAST" if called => Some(cast(p, CastKind::Cast)),
        "TRY_CAST" if called => Some(cast(p, CastKind::TryCast)),
        "TABLE" => Some(table_argument(p)),
        "TUMBLE" | "HOP" | "CUMULATE" | "SESSION" if called => Some(window_call(p)),
        "MAP" if at_token(p, 1, &Token::LBracket) => Some(map(p)),
        "POSITION" if called => Some(position(p)),
        "EXTRACT" if called => Some(extract(p)),
        "TRIM" if called => Some(trim(p)),
        "INTERVAL" => Some(interval(p)),
        // A type where a value should be: `sqlparser` would recurse into it without a limit.
        "ARRAY" | "MAP" | "ROW" | "MULTISET" if at_token(p, 1, &Token::Lt) => Some(expected("an expression", token)),
        _ if called => json::function(p, &word),
        _ => None,
    }
}

/// The hook between two expressions; `None` leaves it to `sqlparser`.
pub(super) fn infix(p: &mut Parser, left: &Expr, _precedence: u8) -> Option<Parsed<Expr>> {
    if chain(left) >= MAX_CHAIN {
        let message = format!("more than {MAX_CHAIN} operators follow each other: group them with parentheses");
        return Some(syntax(here(p), message));
    }
    if at(p, 0, "IS") {
        let negated = at(p, 1, "NOT");
        let n = if negated { 2 } else { 1 };
        if at(p, n, "JSON") {
            return Some(json::is_json(p, left.clone(), negated));
        }
        if at(p, n, "DISTINCT") && at(p, n + 1, "FROM") {
            return Some(is_distinct(p, left.clone(), negated));
        }
    }
    let n = usize::from(at(p, 0, "NOT"));
    if at(p, n, "BETWEEN") && (at(p, n + 1, "SYMMETRIC") || at(p, n + 1, "ASYMMETRIC")) {
        return Some(between(p, left.clone(), n == 1));
    }
    if at(p, n, "IN") && at_token(p, n + 1, &Token::LParen) && begins_query(&p.peek_nth_token_ref(n + 2).token) {
        return Some(in_query(p, left.clone(), n == 1));
    }
    None
}

/// How many operators the left spine of `expr` has.
fn chain(expr: &Expr) -> usize {
    let mut next = expr;
    let mut length = 0;
    loop {
        next = match next {
            Expr::BinaryOp { left, .. } => left,
            Expr::IsNull(e)
            | Expr::IsNotNull(e)
            | Expr::IsTrue(e)
            | Expr::IsNotTrue(e)
            | Expr::IsFalse(e)
            | Expr::IsNotFalse(e)
            | Expr::IsUnknown(e)
            | Expr::IsNotUnknown(e)
            | Expr::IsDistinctFrom(e, _)
            | Expr::IsNotDistinctFrom(e, _) => e,
            Expr::Like { expr, .. }
            | Expr::SimilarTo { expr, .. }
            | Expr::Between { expr, .. }
            | Expr::InList { expr, .. }
            | Expr::InSubquery { expr, .. }
            | Expr::UnaryOp { expr, .. } => expr,
            Expr::Function(call) => match &call.args {
                FunctionArguments::List(list) => match list.args.first() {
                    Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(e))) if is_operator_call(call) => e,
                    _ => return length,
                },
                _ => return length,
            },
            _ => return length,
        };
        length += 1;
    }
}

/// Whether the call stands for an operator whose left side is the first argument.
fn is_operator_call(call: &Function) -> bool {
    let name = call.name.0.first().and_then(|part| part.as_ident());
    name.is_some_and(|ident| ident.value == json::IS_JSON || ident.value == BETWEEN_SYMMETRIC)
}

/// `IS [NOT] DISTINCT FROM`: `sqlparser` would take everything up to the next comma as the right side.
fn is_distinct(p: &mut Parser, left: Expr, negated: bool) -> Parsed<Expr> {
    want(p, &["IS"])?;
    eat(p, &["NOT"]);
    want(p, &["DISTINCT", "FROM"])?;
    let left = Box::new(left);
    let right = Box::new(p.parse_subexpr(precedence(Precedence::Is))?);
    Ok(if negated { Expr::IsNotDistinctFrom(left, right) } else { Expr::IsDistinctFrom(left, right) })
}

/// `[NOT] IN (query)`: `sqlparser` would hide an error in the query.
fn in_query(p: &mut Parser, left: Expr, negated: bool) -> Parsed<Expr> {
    eat(p, &["NOT"]);
    want(p, &["IN"])?;
    want_token(p, &Token::LParen)?;
    let subquery = p.parse_query()?;
    want_token(p, &Token::RParen)?;
    Ok(Expr::InSubquery { expr: Box::new(left), subquery, negated })
}

/// The call that `BETWEEN SYMMETRIC` stands for.
const BETWEEN_SYMMETRIC: &str = "BETWEEN_SYMMETRIC";

/// `[NOT] BETWEEN {SYMMETRIC | ASYMMETRIC} low AND high`: `sqlparser` knows neither word.
fn between(p: &mut Parser, left: Expr, negated: bool) -> Parsed<Expr> {
    let span = p.peek_token_ref().span;
    eat(p, &["NOT"]);
    want(p, &["BETWEEN"])?;
    let symmetric = eat(p, &["SYMMETRIC"]);
    if !symmetric {
        want(p, &["ASYMMETRIC"])?;
    }
    let low = p.parse_subexpr(precedence(Precedence::Between))?;
    want(p, &["AND"])?;
    let high = p.parse_subexpr(precedence(Precedence::Between))?;
    if !symmetric {
        return Ok(Expr::Between { expr: Box::new(left), negated, low: Box::new(low), high: Box::new(high) });
    }
    let test = call(BETWEEN_SYMMETRIC, span, vec![left, low, high]);
    Ok(if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(test) } } else { test })
}

fn precedence(precedence: Precedence) -> u8 {
    FlinkDialect.prec_value(precedence)
}

/// `CAST(x AS type)`.
fn cast(p: &mut Parser, kind: CastKind) -> Parsed<Expr> {
    p.advance_token();
    want_token(p, &Token::LParen)?;
    let expr = Box::new(p.parse_expr()?);
    want(p, &["AS"])?;
    let start = here(p);
    let data_type = to_sqlparser(&cast_target(p)?, start);
    want_token(p, &Token::RParen)?;
    Ok(Expr::Cast { kind, expr, data_type, array: false, format: None })
}

/// `TABLE t [PARTITION BY k] [ORDER BY k]` or `TABLE (query) …` as an argument.
fn table_argument(p: &mut Parser) -> Parsed<Expr> {
    let span = p.peek_token_ref().span;
    want(p, &["TABLE"])?;
    let table = if at_token(p, 0, &Token::LParen) { subquery(p)? } else { Expr::Identifier(table_name(p)?) };
    let mut args = vec![table];
    for (word, name) in [("PARTITION", "__PARTITION_BY"), ("ORDER", "__ORDER_BY")] {
        let span = p.peek_token_ref().span;
        if eat(p, &[word, "BY"]) {
            let keys = if at_token(p, 0, &Token::LParen) {
                parenthesized(p, Parser::parse_expr)?
            } else {
                vec![p.parse_expr()?]
            };
            args.push(call(name, span, keys));
        }
    }
    Ok(call("__TABLE_ARG", span, args))
}

fn subquery(p: &mut Parser) -> Parsed<Expr> {
    want_token(p, &Token::LParen)?;
    let query = p.parse_query()?;
    want_token(p, &Token::RParen)?;
    Ok(Expr::Subquery(query))
}

/// `TUMBLE(…)` and its like, of both kinds: table function (`TABLE t, DESCRIPTOR(ts), …`) and group window.
fn window_call(p: &mut Parser) -> Parsed<Expr> {
    let token = p.next_token();
    let name = unquoted(&token.token).unwrap_or_default().to_owned();
    want_token(p, &Token::LParen)?;
    let args = if at_token(p, 0, &Token::RParen) { Vec::new() } else { list(p, window_argument)? };
    want_token(p, &Token::RParen)?;
    Ok(function(&name, token.span, args))
}

fn window_argument(p: &mut Parser) -> Parsed<FunctionArg> {
    let name = match &p.peek_token_ref().token {
        Token::Word(word) if at_token(p, 1, &Token::RArrow) => Some(word.to_ident(p.peek_token_ref().span)),
        _ => None,
    };
    if name.is_some() {
        p.advance_token();
        p.advance_token();
    }
    let span = p.peek_token_ref().span;
    let value = match p.parse_expr()? {
        query @ Expr::Subquery(_) => call("__TABLE_ARG", span, vec![query]),
        other => other,
    };
    let arg = FunctionArgExpr::Expr(value);
    Ok(match name {
        Some(name) => FunctionArg::Named { name, arg, operator: FunctionArgOperator::RightArrow },
        None => FunctionArg::Unnamed(arg),
    })
}

/// `MAP[k, v, …]`.
fn map(p: &mut Parser) -> Parsed<Expr> {
    let span = p.next_token().span;
    want_token(p, &Token::LBracket)?;
    let items = if at_token(p, 0, &Token::RBracket) { Vec::new() } else { list(p, Parser::parse_expr)? };
    if items.len() % 2 == 1 {
        return expected("a key and its value", p.peek_token_ref());
    }
    want_token(p, &Token::RBracket)?;
    Ok(call("MAP", span, items))
}

/// `POSITION(x IN y)`: `sqlparser` would try twice at each level.
fn position(p: &mut Parser) -> Parsed<Expr> {
    p.advance_token();
    want_token(p, &Token::LParen)?;
    let expr = Box::new(p.parse_subexpr(precedence(Precedence::Between))?);
    want(p, &["IN"])?;
    let r#in = Box::new(p.parse_expr()?);
    want_token(p, &Token::RParen)?;
    Ok(Expr::Position { expr, r#in })
}

/// `EXTRACT(unit FROM x)`: `sqlparser` would not say where `FROM` is missing.
fn extract(p: &mut Parser) -> Parsed<Expr> {
    p.advance_token();
    want_token(p, &Token::LParen)?;
    let field = p.parse_date_time_field()?;
    want(p, &["FROM"])?;
    let expr = Box::new(p.parse_expr()?);
    want_token(p, &Token::RParen)?;
    Ok(Expr::Extract { field, syntax: ExtractSyntax::From, expr })
}

/// `TRIM([BOTH | LEADING | TRAILING] [what] FROM x)` or `TRIM(x)`: `sqlparser` wants a `what` after `LEADING`.
fn trim(p: &mut Parser) -> Parsed<Expr> {
    p.advance_token();
    want_token(p, &Token::LParen)?;
    let places =
        [("BOTH", TrimWhereField::Both), ("LEADING", TrimWhereField::Leading), ("TRAILING", TrimWhereField::Trailing)];
    let trim_where = places.into_iter().find(|(word, _)| eat(p, &[word])).map(|(_, place)| place);
    let what = if at(p, 0, "FROM") && trim_where.is_some() { None } else { Some(Box::new(p.parse_expr()?)) };
    let (trim_what, expr) = match what {
        Some(only) if trim_where.is_none() && !at(p, 0, "FROM") => (None, only),
        what => {
            want(p, &["FROM"])?;
            (what, Box::new(p.parse_expr()?))
        }
    };
    want_token(p, &Token::RParen)?;
    Ok(Expr::Trim { expr, trim_where, trim_what, trim_characters: None })
}

/// `INTERVAL [-] 'value' unit[(p [, f])] [TO unit[(f)]]`.
fn interval(p: &mut Parser) -> Parsed<Expr> {
    p.advance_token();
    let sign = match p.peek_token_ref().token {
        Token::Minus => Some(UnaryOperator::Minus),
        Token::Plus => Some(UnaryOperator::Plus),
        _ => None,
    };
    if sign.is_some() {
        p.advance_token();
    }
    if !matches!(p.peek_token_ref().token, Token::SingleQuotedString(_)) {
        return expected("a string in single quotes", p.peek_token_ref());
    }
    let literal = Expr::Value(p.parse_value()?);
    let value = Box::new(match sign {
        Some(op) => Expr::UnaryOp { op, expr: Box::new(literal) },
        None => literal,
    });
    let leading = unit(p, 0)?;
    let (mut leading_precision, mut fraction) = (None, None);
    if p.consume_token(&Token::LParen) {
        leading_precision = Some(p.parse_literal_uint()?);
        if leading == DateTimeField::Second && p.consume_token(&Token::Comma) {
            fraction = Some(p.parse_literal_uint()?);
        }
        want_token(p, &Token::RParen)?;
    }
    let mut last_field = None;
    if at(p, 0, "TO") {
        let from = match leading {
            DateTimeField::Year => 1,
            DateTimeField::Day => 4,
            DateTimeField::Hour => 5,
            DateTimeField::Minute => 6,
            _ => return expected("no TO after this unit", p.peek_token_ref()),
        };
        p.advance_token();
        let last = unit(p, from)?;
        if last == DateTimeField::Second && p.consume_token(&Token::LParen) {
            fraction = Some(p.parse_literal_uint()?);
            want_token(p, &Token::RParen)?;
        }
        last_field = Some(last);
    }
    let leading_field = Some(leading);
    Ok(Expr::Interval(Interval {
        value,
        leading_field,
        leading_precision,
        last_field,
        fractional_seconds_precision: fraction,
    }))
}

/// A unit of an interval; after `TO`, one of those below the unit before it (`from` is its rank and more).
fn unit(p: &mut Parser, from: usize) -> Parsed<DateTimeField> {
    // By rank; QUARTER and WEEK take no part in `TO`.
    const UNITS: [(&str, &str); 8] = [
        ("YEAR", "YEARS"),
        ("MONTH", "MONTHS"),
        ("QUARTER", "QUARTERS"),
        ("WEEK", "WEEKS"),
        ("DAY", "DAYS"),
        ("HOUR", "HOURS"),
        ("MINUTE", "MINUTES"),
        ("SECOND", "SECONDS"),
    ];
    let allowed: &[usize] = match from {
        0 => &[0, 1, 2, 3, 4, 5, 6, 7],
        1 => &[1],
        4 => &[5, 6, 7],
        5 => &[6, 7],
        _ => &[7],
    };
    let token = p.peek_token_ref();
    // A plural is only a synonym: the planner sees the unit itself.
    let found = allowed.iter().find(|rank| {
        let (one, many) = UNITS[**rank];
        is_word(&token.token, one) || (from == 0 && is_word(&token.token, many))
    });
    let field = match found {
        Some(0) => DateTimeField::Year,
        Some(1) => DateTimeField::Month,
        Some(2) => DateTimeField::Quarter,
        Some(3) => DateTimeField::Week(None),
        Some(4) => DateTimeField::Day,
        Some(5) => DateTimeField::Hour,
        Some(6) => DateTimeField::Minute,
        Some(7) => DateTimeField::Second,
        _ => {
            let names: Vec<&str> = allowed.iter().map(|rank| UNITS[*rank].0).collect();
            return expected(&names.join(", "), token);
        }
    };
    p.advance_token();
    Ok(field)
}

/// A call with unnamed arguments.
pub(super) fn call(name: &str, span: Span, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    function(name, span, args)
}

fn function(name: &str, span: Span, args: Vec<FunctionArg>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::with_span(span, name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// A literal that stands for a clause.
pub(super) fn literal(value: Value, span: Span) -> Expr {
    Expr::Value(value.with_span(span))
}
