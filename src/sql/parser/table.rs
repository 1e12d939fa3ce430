//! `CREATE TABLE`.

use sqlparser::ast::{Expr, Ident};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token};

use super::cursor::{
    at, at_all, at_token, eat, here, identifier, list, parenthesized, position, string, table_name, want, want_token,
};
use super::data_type::data_type;
use super::error::{Parsed, expected, syntax, unsupported};
use crate::sql::ast::{ColumnDefinition, ColumnKind, CreateTable, Position, Statement, Watermark};

/// `CREATE TABLE` is taken; what follows.
pub(super) fn create_table(p: &mut Parser) -> Parsed<Statement> {
    let if_not_exists = eat(p, &["IF", "NOT", "EXISTS"]);
    let mut table = CreateTable {
        if_not_exists,
        name: table_name(p)?,
        columns: Vec::new(),
        watermark: None,
        primary_key: Vec::new(),
        partitioned_by: Vec::new(),
        options: Vec::new(),
        like: None,
    };
    if p.consume_token(&Token::LParen) {
        list(p, |p| element(p, &mut table))?;
        want_token(p, &Token::RParen)?;
    }
    comment(p)?;
    if at(p, 0, "DISTRIBUTED") {
        return unsupported(here(p), "DISTRIBUTED is not supported: leave the clause out");
    }
    if eat(p, &["PARTITIONED"]) {
        want(p, &["BY"])?;
        table.partitioned_by = parenthesized(p, identifier)?;
    }
    if eat(p, &["WITH"]) {
        table.options = options(p)?;
    }
    if eat(p, &["LIKE"]) {
        table.like = Some(table_name(p)?);
        like_options(p)?;
    }
    if at(p, 0, "AS") {
        return unsupported(here(p), "CREATE TABLE … AS is not supported: write CREATE TABLE, then INSERT INTO");
    }
    Ok(Statement::CreateTable(Box::new(table)))
}

/// `[COMMENT '…']`.
pub(super) fn comment(p: &mut Parser) -> Parsed<()> {
    if eat(p, &["COMMENT"]) {
        string(p)?;
    }
    Ok(())
}

fn element(p: &mut Parser, table: &mut CreateTable) -> Parsed<()> {
    if at_all(p, &["WATERMARK", "FOR"]) {
        return watermark(p, table);
    }
    let start = here(p);
    if at_all(p, &["PRIMARY", "KEY"]) || (at(p, 0, "CONSTRAINT") && at_all_from(p, 2, &["PRIMARY", "KEY"])) {
        primary_key_word(p)?;
        let key = parenthesized(p, identifier)?;
        return set_primary_key(p, table, key, start);
    }
    let is_unique = at(p, 0, "UNIQUE") && at_token(p, 1, &Token::LParen);
    if is_unique || (at(p, 0, "CONSTRAINT") && at(p, 2, "UNIQUE")) {
        return unsupported(start, "UNIQUE is not supported: write PRIMARY KEY (…) NOT ENFORCED");
    }
    column(p, table)
}

fn at_all_from(p: &Parser, from: usize, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(n, word)| at(p, from + n, word))
}

/// `[CONSTRAINT name] PRIMARY KEY`.
fn primary_key_word(p: &mut Parser) -> Parsed<()> {
    if eat(p, &["CONSTRAINT"]) {
        identifier(p)?;
    }
    want(p, &["PRIMARY", "KEY"])
}

/// Takes `NOT ENFORCED`, without which Flink refuses a key.
fn set_primary_key(p: &mut Parser, table: &mut CreateTable, key: Vec<Ident>, start: Location) -> Parsed<()> {
    if !table.primary_key.is_empty() {
        return syntax(start, "the table has a primary key already");
    }
    if !eat(p, &["NOT", "ENFORCED"]) {
        return unsupported(here(p), "a primary key cannot be enforced: write PRIMARY KEY … NOT ENFORCED");
    }
    for (n, column) in key.iter().enumerate() {
        if key[..n].iter().any(|other| other.value == column.value) {
            return syntax(column.span.start, format!("the primary key names {} twice", column.value));
        }
    }
    table.primary_key = key;
    Ok(())
}

/// `WATERMARK FOR column AS expr`.
fn watermark(p: &mut Parser, table: &mut CreateTable) -> Parsed<()> {
    let token = p.peek_token_ref().clone();
    if table.watermark.is_some() {
        return unsupported(token.span.start, "a table can have only one WATERMARK");
    }
    want(p, &["WATERMARK", "FOR"])?;
    let column = identifier(p)?;
    if at_token(p, 0, &Token::Period) {
        let message = "a watermark on a field of a row is not supported: add a computed column for it";
        return unsupported(column.span.start, message);
    }
    want(p, &["AS"])?;
    let expr = Box::new(p.parse_expr()?);
    table.watermark = Some(Watermark { column, expr, position: position(&token) });
    Ok(())
}

/// A physical, computed or metadata column.
fn column(p: &mut Parser, table: &mut CreateTable) -> Parsed<()> {
    let start = position(p.peek_token_ref());
    let name = identifier(p)?;
    if table.columns.iter().any(|column| column.name.value == name.value) {
        return syntax(name.span.start, format!("the column {} is defined twice", name.value));
    }
    let kind = if eat(p, &["AS"]) { ColumnKind::Computed(computed(p)?) } else { typed_column(p, table, &name)? };
    comment(p)?;
    table.columns.push(ColumnDefinition { name, position: start, kind });
    Ok(())
}

fn computed(p: &mut Parser) -> Parsed<Box<Expr>> {
    Ok(Box::new(p.parse_expr()?))
}

fn typed_column(p: &mut Parser, table: &mut CreateTable, name: &Ident) -> Parsed<ColumnKind> {
    let mut data_type = data_type(p)?;
    if eat(p, &["METADATA"]) {
        let key = if eat(p, &["FROM"]) { string(p)? } else { name.value.clone() };
        let is_virtual = eat(p, &["VIRTUAL"]);
        return Ok(ColumnKind::Metadata { data_type, key, is_virtual });
    }
    let start = here(p);
    if at(p, 0, "CONSTRAINT") || at_all(p, &["PRIMARY", "KEY"]) {
        primary_key_word(p)?;
        set_primary_key(p, table, vec![name.clone()], start)?;
        if eat(p, &["NOT", "NULL"]) {
            data_type.nullable = false;
        }
    } else if at(p, 0, "UNIQUE") {
        return unsupported(start, "UNIQUE is not supported: write PRIMARY KEY NOT ENFORCED");
    } else if at(p, 0, "DEFAULT") {
        return unsupported(start, "DEFAULT is not supported: write COALESCE in the query");
    }
    Ok(ColumnKind::Physical(data_type))
}

/// `('key' = 'value', …)`.
fn options(p: &mut Parser) -> Parsed<Vec<(String, String, Position)>> {
    want_token(p, &Token::LParen)?;
    let mut options: Vec<(String, String, Position)> = Vec::new();
    if p.consume_token(&Token::RParen) {
        return Ok(options);
    }
    list(p, |p| {
        let token = p.peek_token_ref().clone();
        let key = string(p)?;
        if options.iter().any(|(other, ..)| *other == key) {
            return syntax(token.span.start, format!("the option '{key}' is given twice"));
        }
        want_token(p, &Token::Eq)?;
        let value = string(p)?;
        options.push((key, value, position(&token)));
        Ok(())
    })?;
    want_token(p, &Token::RParen)?;
    Ok(options)
}

/// `[(INCLUDING … EXCLUDING … OVERWRITING …)]`: only those that say what holds anyway.
fn like_options(p: &mut Parser) -> Parsed<()> {
    const FEATURES: [&str; 8] =
        ["ALL", "CONSTRAINTS", "DISTRIBUTION", "GENERATED", "METADATA", "OPTIONS", "PARTITIONS", "WATERMARKS"];
    if !p.consume_token(&Token::LParen) {
        return Ok(());
    }
    let start = here(p);
    let (mut all, mut overwriting) = (false, false);
    while !p.consume_token(&Token::RParen) {
        let clause = here(p);
        let word = ["INCLUDING", "EXCLUDING", "OVERWRITING"].into_iter().find(|word| eat(p, &[word]));
        let Some(word) = word else {
            return expected("INCLUDING, EXCLUDING, OVERWRITING or `)`", p.peek_token_ref());
        };
        let Some(feature) = FEATURES.into_iter().find(|feature| eat(p, &[feature])) else {
            return expected(&FEATURES.join(", "), p.peek_token_ref());
        };
        match (word, feature) {
            ("OVERWRITING", "OPTIONS") => overwriting = true,
            ("INCLUDING", "ALL") => all = true,
            ("INCLUDING", other) if other != "OPTIONS" => {}
            _ => return unsupported(clause, NOT_DEFAULT),
        }
    }
    if all && !overwriting { unsupported(start, NOT_DEFAULT) } else { Ok(()) }
}

const NOT_DEFAULT: &str =
    "only the default of LIKE is supported (INCLUDING ALL OVERWRITING OPTIONS): leave its options out";
