//! Statements: a script's frame, and everything but `CREATE TABLE`.

use sqlparser::ast::Query;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token};

use super::cursor::{
    at, at_token, begins_query, eat, here, identifier, parenthesized, position, string, table_name, unquoted, want,
    want_token,
};
use super::error::{Parsed, expected, shown, syntax, unsupported};
use super::table::{comment, create_table};
use crate::sql::ast::{CreateView, Insert, PositionedStatement, Statement};

/// Statements that Flink has and Holdfast has not, and what to do instead.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("ADD", "functions are built in"),
    ("ALTER", "drop the table or view and create it again"),
    ("ANALYZE", "statistics are not used"),
    ("CALL", "procedures do not exist"),
    ("COMPILE", "plans are stored with the job"),
    ("DELETE", "write an INSERT INTO a table with a primary key"),
    ("DESC", "look at the script, or at POST /api/v1/sql/check, which lists its statements"),
    ("DESCRIBE", "look at the script, or at POST /api/v1/sql/check, which lists its statements"),
    ("HELP", "see the documentation"),
    ("LOAD", "modules do not exist"),
    ("MERGE", "write an INSERT INTO a table with a primary key"),
    ("QUIT", "end the script here"),
    ("REMOVE", "functions are built in"),
    ("REPLACE", "drop the table and create it again"),
    ("SHOW", "look at the script, or at POST /api/v1/sql/check, which lists its statements"),
    ("STOP", "stop the job with the API"),
    ("TRUNCATE", "drop the table and create it again"),
    ("UNLOAD", "modules do not exist"),
    ("UPDATE", "write an INSERT INTO a table with a primary key"),
    ("USE", "there is one catalog, `default_catalog`, with one database, `default_database`: leave it out"),
];

/// The statements up to the end of the text, separated by `;`.
pub(super) fn script(p: &mut Parser) -> Parsed<Vec<PositionedStatement>> {
    let mut statements = Vec::new();
    loop {
        while p.consume_token(&Token::SemiColon) {}
        if at_token(p, 0, &Token::EOF) {
            return Ok(statements);
        }
        statements.push(positioned(p, false)?);
        if !at_token(p, 0, &Token::SemiColon) && !at_token(p, 0, &Token::EOF) {
            return expected("`;` or the end of the text", p.peek_token_ref());
        }
    }
}

fn positioned(p: &mut Parser, explained: bool) -> Parsed<PositionedStatement> {
    let position = position(p.peek_token_ref());
    Ok(PositionedStatement { position, statement: statement(p, explained)? })
}

fn statement(p: &mut Parser, explained: bool) -> Parsed<Statement> {
    let token = p.peek_token_ref().clone();
    let start = token.span.start;
    if begins_query(&token.token) || token.token == Token::LParen {
        return Ok(Statement::Query(query(p)?));
    }
    let Some(word) = unquoted(&token.token).map(str::to_ascii_uppercase) else {
        return expected("a statement", &token);
    };
    match word.as_str() {
        "CREATE" => create(p),
        "DROP" => drop_object(p),
        "INSERT" => Ok(Statement::Insert(insert(p)?)),
        "EXECUTE" if at(p, 1, "INSERT") => {
            p.advance_token();
            Ok(Statement::Insert(insert(p)?))
        }
        "EXECUTE" if at(p, 1, "PLAN") => {
            unsupported(start, "EXECUTE PLAN is not supported: plans are stored with the job")
        }
        "EXECUTE" if begins_query(&p.peek_nth_token_ref(1).token) => {
            unsupported(start, "EXECUTE stands before INSERT or STATEMENT SET: leave it out before a query")
        }
        "EXECUTE" => {
            p.advance_token();
            want(p, &["STATEMENT", "SET", "BEGIN"])?;
            statement_set(p)
        }
        "BEGIN" => {
            want(p, &["BEGIN", "STATEMENT", "SET"])?;
            want_token(p, &Token::SemiColon)?;
            statement_set(p)
        }
        "SET" => set(p),
        "RESET" => {
            p.advance_token();
            let key = if ends(p) { None } else { Some(string(p)?) };
            Ok(Statement::Reset { key })
        }
        "EXPLAIN" if explained => syntax(start, "EXPLAIN cannot explain itself"),
        "EXPLAIN" => explain(p),
        _ => match REFUSED.iter().find(|(name, _)| *name == word) {
            Some((_, instead)) => unsupported(start, format!("{word} is not supported: {instead}")),
            None => expected("a statement", &token),
        },
    }
}

fn ends(p: &Parser) -> bool {
    at_token(p, 0, &Token::SemiColon) || at_token(p, 0, &Token::EOF)
}

/// A query.
fn query(p: &mut Parser) -> Parsed<Box<Query>> {
    let token = p.peek_token_ref();
    if !begins_query(&token.token) && token.token != Token::LParen {
        return expected("SELECT, WITH or VALUES", token);
    }
    p.parse_query()
}

/// `INSERT INTO name [(columns)] query`.
fn insert(p: &mut Parser) -> Parsed<Insert> {
    want(p, &["INSERT"])?;
    if at(p, 0, "OVERWRITE") {
        return unsupported(here(p), "INSERT OVERWRITE is for batch jobs: write INSERT INTO");
    }
    want(p, &["INTO"])?;
    let table = table_name(p)?;
    if at(p, 0, "PARTITION") {
        return unsupported(here(p), "a PARTITION clause is not supported: select the partition's columns like others");
    }
    let columns =
        if at_token(p, 0, &Token::LParen) && !opens_query(p) { parenthesized(p, identifier)? } else { Vec::new() };
    Ok(Insert { table, columns, query: query(p)? })
}

/// Whether the parentheses ahead lead to a query: `((SELECT …`.
fn opens_query(p: &Parser) -> bool {
    let mut n = 0;
    while at_token(p, n, &Token::LParen) {
        n += 1;
    }
    begins_query(&p.peek_nth_token_ref(n).token)
}

/// The `INSERT`s up to `END`.
fn statement_set(p: &mut Parser) -> Parsed<Statement> {
    let mut inserts = Vec::new();
    loop {
        while p.consume_token(&Token::SemiColon) {}
        if eat(p, &["END"]) {
            return Ok(Statement::StatementSet(inserts));
        }
        if !at(p, 0, "INSERT") {
            return expected("INSERT or END", p.peek_token_ref());
        }
        inserts.push(insert(p)?);
        if !at_token(p, 0, &Token::SemiColon) {
            return expected("`;`", p.peek_token_ref());
        }
    }
}

/// `SET 'key' = 'value'`.
fn set(p: &mut Parser) -> Parsed<Statement> {
    let start = here(p);
    p.advance_token();
    if ends(p) {
        return unsupported(start, "SET without a key is not supported: write SET 'key' = 'value'");
    }
    if unquoted(&p.peek_token_ref().token).is_some() {
        return expected("a key in single quotes, as in SET 'key' = 'value'", p.peek_token_ref());
    }
    let position = position(p.peek_token_ref());
    let key = string(p)?;
    want_token(p, &Token::Eq)?;
    let value = string(p)?;
    Ok(Statement::Set { key, value, position })
}

/// `EXPLAIN [PLAN FOR] statement`.
fn explain(p: &mut Parser) -> Parsed<Statement> {
    const DETAILS: [&str; 4] = ["CHANGELOG_MODE", "ESTIMATED_COST", "JSON_EXECUTION_PLAN", "PLAN_ADVICE"];
    p.advance_token();
    if let Some(detail) = DETAILS.iter().find(|detail| at(p, 0, detail)) {
        return unsupported(here(p), format!("the detail {detail} is not supported: write EXPLAIN and the statement"));
    }
    if eat(p, &["PLAN"]) {
        want(p, &["FOR"])?;
    }
    // `EXPLAIN STATEMENT SET BEGIN …` has no EXECUTE.
    if at(p, 0, "STATEMENT") {
        let position = position(p.peek_token_ref());
        want(p, &["STATEMENT", "SET", "BEGIN"])?;
        let statement = statement_set(p)?;
        return Ok(Statement::Explain(Box::new(PositionedStatement { position, statement })));
    }
    Ok(Statement::Explain(Box::new(positioned(p, true)?)))
}

/// `CREATE …`.
fn create(p: &mut Parser) -> Parsed<Statement> {
    let start = here(p);
    want(p, &["CREATE"])?;
    if at(p, 0, "OR") {
        return unsupported(here(p), "CREATE OR … is not supported: write DROP and CREATE");
    }
    let temporary = eat(p, &["TEMPORARY"]);
    if eat(p, &["TABLE"]) {
        return create_table(p);
    }
    if eat(p, &["VIEW"]) {
        return create_view(p);
    }
    match unquoted(&p.peek_token_ref().token).map(str::to_ascii_uppercase).as_deref() {
        Some("CATALOG" | "DATABASE") => not_created(start, "CREATE CATALOG or CREATE DATABASE", ONE_CATALOG),
        Some("FUNCTION" | "SYSTEM") => not_created(start, "CREATE FUNCTION", "functions are built in"),
        Some("MATERIALIZED") => not_created(start, "CREATE MATERIALIZED TABLE", "write CREATE TABLE and INSERT INTO"),
        Some("MODEL") => not_created(start, "CREATE MODEL", "models do not exist"),
        Some("CONNECTION") => not_created(start, "CREATE CONNECTION", "give the options in the table's WITH"),
        _ if temporary => expected("TABLE or VIEW", p.peek_token_ref()),
        _ => expected("TABLE, VIEW or TEMPORARY", p.peek_token_ref()),
    }
}

const ONE_CATALOG: &str = "there is one catalog, `default_catalog`, with one database, `default_database`";

fn not_created<T>(start: Location, what: &str, instead: &str) -> Parsed<T> {
    unsupported(start, format!("{what} is not supported: {instead}"))
}

/// `CREATE [TEMPORARY] VIEW [IF NOT EXISTS] name [(column [COMMENT '…'], …)] [COMMENT '…'] AS query`.
fn create_view(p: &mut Parser) -> Parsed<Statement> {
    let if_not_exists = eat(p, &["IF", "NOT", "EXISTS"]);
    let name = table_name(p)?;
    let mut columns = Vec::new();
    if at_token(p, 0, &Token::LParen) {
        columns = parenthesized(p, |p| {
            let column = identifier(p)?;
            comment(p)?;
            Ok(column)
        })?;
    }
    comment(p)?;
    want(p, &["AS"])?;
    Ok(Statement::CreateView(CreateView { if_not_exists, name, columns, query: query(p)? }))
}

/// `DROP [TEMPORARY] TABLE | VIEW [IF EXISTS] name`.
fn drop_object(p: &mut Parser) -> Parsed<Statement> {
    let start = here(p);
    want(p, &["DROP"])?;
    eat(p, &["TEMPORARY"]);
    let is_view = eat(p, &["VIEW"]);
    if !is_view && !eat(p, &["TABLE"]) {
        let token = p.peek_token_ref();
        let known = ["CATALOG", "DATABASE", "FUNCTION", "SYSTEM", "MATERIALIZED", "MODEL", "CONNECTION"];
        return if known.iter().any(|word| at(p, 0, word)) {
            unsupported(
                start,
                format!("DROP {} is not supported: only tables and views can be dropped", shown(&token.token)),
            )
        } else {
            expected("TABLE or VIEW", token)
        };
    }
    let if_exists = eat(p, &["IF", "EXISTS"]);
    Ok(Statement::Drop { is_view, if_exists, name: table_name(p)? })
}
