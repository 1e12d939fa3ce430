//! SQL/JSON: `IS JSON` and the functions with clauses, turned into plain calls.
//!
//! | Written | Call |
//! |---|---|
//! | `x IS [NOT] JSON [VALUE \| SCALAR \| ARRAY \| OBJECT]` | `[NOT] IS_JSON(x, 'VALUE')` |
//! | `JSON_EXISTS(j, p [b ON ERROR])` | `JSON_EXISTS(j, p, 'FALSE')` |
//! | `JSON_VALUE(j, p [RETURNING t] [… ON EMPTY] [… ON ERROR])` | `JSON_VALUE(j, p, 'NULL', NULL, 'NULL', NULL [, CAST(NULL AS t)])` |
//! | `JSON_QUERY(j, p [RETURNING t] [wrapper] [… ON EMPTY] [… ON ERROR])` | `JSON_QUERY(j, p, 'WITHOUT', 'NULL', 'NULL' [, CAST(NULL AS t)])` |
//! | `JSON_OBJECT([KEY] k VALUE v, … [… ON NULL])` | `JSON_OBJECT(k, v, …, 'NULL')` |
//! | `JSON_ARRAY(v, … [… ON NULL])` | `JSON_ARRAY(v, …, 'ABSENT')` |
//! | `JSON_OBJECTAGG([KEY] k VALUE v [… ON NULL])` | `JSON_OBJECTAGG(k, v, 'NULL')` |
//! | `JSON_ARRAYAGG(v [… ON NULL])` | `JSON_ARRAYAGG(v, 'ABSENT')` |
//!
//! The literals are the defaults; an `ON EMPTY` or `ON ERROR` of `JSON_VALUE` is its mode (`'NULL'`, `'ERROR'`,
//! `'DEFAULT'`) and the default's expression, else `NULL`. Source: Flink's "JSON Functions".

use sqlparser::ast::{CastKind, Expr, UnaryOperator, Value};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token};

use super::cursor::{at, at_all, at_token, eat, here, list, want, want_token};
use super::data_type::{cast_target, to_sqlparser};
use super::error::{Parsed, expected, syntax};
use super::expression::{call, literal};

/// The call for `IS JSON`.
pub(super) const IS_JSON: &str = "IS_JSON";

/// A JSON function, if `name` (in capitals, followed by a parenthesis) is one with clauses.
pub(super) fn function(p: &mut Parser, name: &str) -> Option<Parsed<Expr>> {
    match name {
        "JSON_EXISTS" => Some(exists(p)),
        "JSON_VALUE" => Some(value(p)),
        "JSON_QUERY" => Some(query(p)),
        "JSON_OBJECT" => Some(object(p)),
        "JSON_ARRAY" => Some(array(p)),
        "JSON_OBJECTAGG" => Some(object_aggregate(p)),
        "JSON_ARRAYAGG" => Some(array_aggregate(p)),
        _ => None,
    }
}

/// `x IS [NOT] JSON [kind]`; `IS` is next.
pub(super) fn is_json(p: &mut Parser, operand: Expr, negated: bool) -> Parsed<Expr> {
    let span = p.peek_token_ref().span;
    want(p, &["IS"])?;
    eat(p, &["NOT"]);
    want(p, &["JSON"])?;
    let kind = ["VALUE", "SCALAR", "ARRAY", "OBJECT"].into_iter().find(|kind| eat(p, &[kind])).unwrap_or("VALUE");
    let test = call(IS_JSON, span, vec![operand, text(kind, span)]);
    Ok(if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(test) } } else { test })
}

fn exists(p: &mut Parser) -> Parsed<Expr> {
    let (span, mut args) = open(p)?;
    let modes = ["TRUE", "FALSE", "UNKNOWN", "ERROR"];
    let mode = modes.into_iter().find(|mode| eat(p, &[mode, "ON", "ERROR"])).unwrap_or("FALSE");
    want_token(p, &Token::RParen)?;
    args.push(text(mode, span));
    Ok(call("JSON_EXISTS", span, args))
}

fn value(p: &mut Parser) -> Parsed<Expr> {
    let (span, mut args) = open(p)?;
    let returning = returning(p)?;
    let null = || literal(Value::Null, span);
    let mut on = [("NULL", null()), ("NULL", null())];
    let mut next = 0;
    while !at_token(p, 0, &Token::RParen) {
        let start = here(p);
        let mode = if eat(p, &["NULL"]) {
            ("NULL", null())
        } else if eat(p, &["ERROR"]) {
            ("ERROR", null())
        } else if eat(p, &["DEFAULT"]) {
            ("DEFAULT", p.parse_expr()?)
        } else {
            return expected("NULL, ERROR, DEFAULT or `)`", p.peek_token_ref());
        };
        let slot = on_clause(p)?;
        if slot < next {
            return syntax(start, "ON EMPTY stands before ON ERROR, and each at most once");
        }
        on[slot] = mode;
        next = slot + 1;
    }
    want_token(p, &Token::RParen)?;
    for (mode, default) in on {
        args.push(text(mode, span));
        args.push(default);
    }
    args.extend(returning);
    Ok(call("JSON_VALUE", span, args))
}

fn query(p: &mut Parser) -> Parsed<Expr> {
    let (span, mut args) = open(p)?;
    let returning = returning(p)?;
    args.push(text(wrapper(p)?, span));
    let modes: [(&[&str], &str); 4] = [
        (&["NULL"], "NULL"),
        (&["EMPTY", "ARRAY"], "EMPTY ARRAY"),
        (&["EMPTY", "OBJECT"], "EMPTY OBJECT"),
        (&["ERROR"], "ERROR"),
    ];
    let mut on = ["NULL", "NULL"];
    let mut next = 0;
    while !at_token(p, 0, &Token::RParen) {
        let start = here(p);
        let Some((_, mode)) = modes.into_iter().find(|(words, _)| eat(p, words)) else {
            return expected("NULL, EMPTY ARRAY, EMPTY OBJECT, ERROR or `)`", p.peek_token_ref());
        };
        let slot = on_clause(p)?;
        if slot < next {
            return syntax(start, "ON EMPTY stands before ON ERROR, and each at most once");
        }
        on[slot] = mode;
        next = slot + 1;
    }
    want_token(p, &Token::RParen)?;
    args.extend(on.map(|mode| text(mode, span)));
    args.extend(returning);
    Ok(call("JSON_QUERY", span, args))
}

/// `WITHOUT [ARRAY] WRAPPER` or `WITH [CONDITIONAL | UNCONDITIONAL] [ARRAY] WRAPPER`.
fn wrapper(p: &mut Parser) -> Parsed<&'static str> {
    let mode = if eat(p, &["WITHOUT"]) {
        "WITHOUT"
    } else if eat(p, &["WITH"]) {
        if eat(p, &["CONDITIONAL"]) {
            "CONDITIONAL"
        } else {
            eat(p, &["UNCONDITIONAL"]);
            "UNCONDITIONAL"
        }
    } else {
        return Ok("WITHOUT");
    };
    eat(p, &["ARRAY"]);
    want(p, &["WRAPPER"])?;
    Ok(mode)
}

fn object(p: &mut Parser) -> Parsed<Expr> {
    let span = p.next_token().span;
    want_token(p, &Token::LParen)?;
    let mut args = Vec::new();
    if !at_token(p, 0, &Token::RParen) && !at_on_null(p) {
        let pairs = list(p, |p| {
            // `KEY k VALUE v`; but a column may be called key, too.
            if at(p, 0, "KEY") && !at(p, 1, "VALUE") {
                p.advance_token();
            }
            let key = p.parse_expr()?;
            want(p, &["VALUE"])?;
            Ok([key, p.parse_expr()?])
        })?;
        args.extend(pairs.into_iter().flatten());
    }
    args.push(text(on_null(p, "NULL"), span));
    want_token(p, &Token::RParen)?;
    Ok(call("JSON_OBJECT", span, args))
}

/// `JSON_OBJECTAGG([KEY] key VALUE value [… ON NULL])`.
fn object_aggregate(p: &mut Parser) -> Parsed<Expr> {
    let span = p.next_token().span;
    want_token(p, &Token::LParen)?;
    eat(p, &["KEY"]);
    let key = p.parse_expr()?;
    want(p, &["VALUE"])?;
    let value = p.parse_expr()?;
    let mode = text(on_null(p, "NULL"), span);
    want_token(p, &Token::RParen)?;
    Ok(call("JSON_OBJECTAGG", span, vec![key, value, mode]))
}

/// `JSON_ARRAYAGG(value [… ON NULL])`.
fn array_aggregate(p: &mut Parser) -> Parsed<Expr> {
    let span = p.next_token().span;
    want_token(p, &Token::LParen)?;
    let value = p.parse_expr()?;
    let mode = text(on_null(p, "ABSENT"), span);
    want_token(p, &Token::RParen)?;
    Ok(call("JSON_ARRAYAGG", span, vec![value, mode]))
}

fn array(p: &mut Parser) -> Parsed<Expr> {
    let span = p.next_token().span;
    want_token(p, &Token::LParen)?;
    let mut args = Vec::new();
    if !at_token(p, 0, &Token::RParen) && !at_on_null(p) {
        args = list(p, Parser::parse_expr)?;
    }
    args.push(text(on_null(p, "ABSENT"), span));
    want_token(p, &Token::RParen)?;
    Ok(call("JSON_ARRAY", span, args))
}

fn at_on_null(p: &Parser) -> bool {
    at_all(p, &["NULL", "ON", "NULL"]) || at_all(p, &["ABSENT", "ON", "NULL"])
}

fn on_null(p: &mut Parser, default: &'static str) -> &'static str {
    ["NULL", "ABSENT"].into_iter().find(|mode| eat(p, &[mode, "ON", "NULL"])).unwrap_or(default)
}

/// The function's name, `(json, path`.
fn open(p: &mut Parser) -> Parsed<(Span, Vec<Expr>)> {
    let span = p.next_token().span;
    want_token(p, &Token::LParen)?;
    let json = p.parse_expr()?;
    want_token(p, &Token::Comma)?;
    Ok((span, vec![json, p.parse_expr()?]))
}

/// `RETURNING type`, as `CAST(NULL AS type)`.
fn returning(p: &mut Parser) -> Parsed<Option<Expr>> {
    if !eat(p, &["RETURNING"]) {
        return Ok(None);
    }
    let span = p.peek_token_ref().span;
    let data_type = to_sqlparser(&cast_target(p)?, span.start);
    let expr = Box::new(literal(Value::Null, span));
    Ok(Some(Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None }))
}

/// `ON EMPTY` is 0, `ON ERROR` is 1.
fn on_clause(p: &mut Parser) -> Parsed<usize> {
    want(p, &["ON"])?;
    if eat(p, &["EMPTY"]) {
        return Ok(0);
    }
    if eat(p, &["ERROR"]) { Ok(1) } else { expected("EMPTY or ERROR", p.peek_token_ref()) }
}

fn text(value: &str, span: Span) -> Expr {
    literal(Value::SingleQuotedString(value.to_owned()), span)
}
