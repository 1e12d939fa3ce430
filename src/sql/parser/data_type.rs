//! Flink's types: text to [`DataType`].
//!
//! `sqlparser`'s own types are not used: it knows no `ROW`, `MULTISET`, `TIMESTAMP_LTZ` or nullability. Where one of its
//! nodes must hold a type (`CAST`), the type travels as text in a `Custom` type: [`to_sqlparser`], [`from_sqlparser`].
//! Source: Flink's "Data Types" page (2.x), section by section; defaults and limits are the ones given there.

use sqlparser::ast as sp;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token};

use super::cursor::{at, at_all, eat, here, identifier, unquoted, want, want_token};
use super::dialect::FlinkDialect;
use super::error::{Parsed, convert, expected, syntax, unsupported};
use super::{MAX_NESTING, tokens};
use crate::error::{Error, Result};
use crate::types::{DataType, Field, MAX_LENGTH, TimestampKind, TypeKind};

/// The name of the `Custom` type whose one modifier is the text of a Flink type.
const CARRIER: &str = "__FLINK_TYPE";

/// Reads the type that a `CAST` of this parser, or a literal such as `DATE '…'`, carries.
pub fn from_sqlparser(data_type: &sp::DataType) -> Result<DataType> {
    if let sp::DataType::Custom(name, modifiers) = data_type
        && name.0.first().and_then(|part| part.as_ident()).is_some_and(|ident| ident.value == CARRIER)
        && let [text] = modifiers.as_slice()
    {
        return from_text(text);
    }
    from_text(&data_type.to_string())
}

/// Reads a type that is the whole text.
pub fn from_text(text: &str) -> Result<DataType> {
    let tokenized = tokens::tokenize(text)?;
    if let Some(refused) = tokenized.refused {
        return Err(refused);
    }
    let dialect = FlinkDialect;
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokenized.tokens);
    let parsed = data_type(&mut parser).and_then(|parsed| match &parser.peek_token_ref().token {
        Token::EOF => Ok(parsed),
        _ => expected("the end of the type", parser.peek_token_ref()),
    });
    // The position inside of the type's text says nothing to a client; callers know where the type stands.
    parsed.map_err(|e| Error { place: None, ..convert(e, tokenized.end) })
}

/// Puts a type where `sqlparser` wants one of its own.
pub(super) fn to_sqlparser(data_type: &DataType, start: Location) -> sp::DataType {
    let name = sp::Ident::with_span(Span::new(start, start), CARRIER);
    sp::DataType::Custom(sp::ObjectName::from(vec![name]), vec![data_type.to_string()])
}

/// A type with `[NOT] NULL`, as columns have it.
pub(super) fn data_type(p: &mut Parser) -> Parsed<DataType> {
    nested(p, 0, true)
}

/// A type as `CAST` has it: whether the result can be `NULL` follows from the operand.
pub(super) fn cast_target(p: &mut Parser) -> Parsed<DataType> {
    nested(p, 0, false)
}

fn nested(p: &mut Parser, depth: usize, nullability: bool) -> Parsed<DataType> {
    if depth >= MAX_NESTING {
        return Err(ParserError::RecursionLimitExceeded);
    }
    let mut parsed = DataType::nullable(kind(p, depth)?);
    let mut postfixes = depth;
    loop {
        let collection = |n: usize| at(p, n, "ARRAY") || at(p, n, "MULTISET");
        if at_all(p, &["NOT", "NULL"]) && (nullability || collection(2)) {
            eat(p, &["NOT", "NULL"]);
            parsed.nullable = false;
        } else if at(p, 0, "NULL") && (nullability || collection(1)) {
            eat(p, &["NULL"]);
        }
        // Each postfix is one more level of the tree.
        postfixes += 1;
        if postfixes > MAX_NESTING {
            return Err(ParserError::RecursionLimitExceeded);
        }
        if eat(p, &["ARRAY"]) {
            parsed = TypeKind::Array(Box::new(parsed)).into();
        } else if eat(p, &["MULTISET"]) {
            parsed = TypeKind::Multiset(Box::new(parsed)).into();
        } else {
            return Ok(parsed);
        }
    }
}

fn kind(p: &mut Parser, depth: usize) -> Parsed<TypeKind> {
    let token = p.peek_token_ref().clone();
    let Some(word) = unquoted(&token.token).map(str::to_ascii_uppercase) else {
        return expected("a type", &token);
    };
    p.advance_token();
    let start = token.span.start;
    Ok(match word.as_str() {
        "BOOLEAN" => TypeKind::Boolean,
        "TINYINT" => TypeKind::TinyInt,
        "SMALLINT" => TypeKind::SmallInt,
        "INT" | "INTEGER" => TypeKind::Int,
        "BIGINT" => TypeKind::BigInt,
        "FLOAT" => TypeKind::Float,
        "DOUBLE" => {
            eat(p, &["PRECISION"]);
            TypeKind::Double
        }
        "DECIMAL" | "DEC" | "NUMERIC" => decimal(p)?,
        "CHAR" => TypeKind::Char(length(p)?),
        "VARCHAR" => TypeKind::VarChar(length(p)?),
        "STRING" => TypeKind::VarChar(MAX_LENGTH),
        "BINARY" => TypeKind::Binary(length(p)?),
        "VARBINARY" => TypeKind::VarBinary(length(p)?),
        "BYTES" => TypeKind::VarBinary(MAX_LENGTH),
        "DATE" => TypeKind::Date,
        "TIME" => {
            let precision = precision(p, 0)?;
            eat(p, &["WITHOUT", "TIME", "ZONE"]);
            TypeKind::Time(precision)
        }
        "TIMESTAMP" => timestamp(p)?,
        "TIMESTAMP_LTZ" => TypeKind::TimestampLtz(precision(p, 6)?, TimestampKind::Regular),
        "INTERVAL" => interval(p)?,
        "ARRAY" => TypeKind::Array(Box::new(angled(p, depth)?)),
        "MULTISET" => TypeKind::Multiset(Box::new(angled(p, depth)?)),
        "MAP" => {
            want_token(p, &Token::Lt)?;
            let key = nested(p, depth + 1, true)?;
            want_token(p, &Token::Comma)?;
            let value = nested(p, depth + 1, true)?;
            want_token(p, &Token::Gt)?;
            TypeKind::Map(Box::new(key), Box::new(value))
        }
        "ROW" => row(p, depth)?,
        "RAW" | "STRUCTURED" | "VARIANT" | "BITMAP" | "SYMBOL" | "DESCRIPTOR" => {
            return unsupported(start, format!("the type {word} is not supported"));
        }
        _ => return expected("a type", &token),
    })
}

fn angled(p: &mut Parser, depth: usize) -> Parsed<DataType> {
    want_token(p, &Token::Lt)?;
    let item = nested(p, depth + 1, true)?;
    want_token(p, &Token::Gt)?;
    Ok(item)
}

/// `ROW<name type ['comment'], …>` or `ROW(…)`.
fn row(p: &mut Parser, depth: usize) -> Parsed<TypeKind> {
    let close = if p.consume_token(&Token::LParen) {
        Token::RParen
    } else {
        want_token(p, &Token::Lt)?;
        Token::Gt
    };
    let mut fields: Vec<Field> = Vec::new();
    loop {
        let start = here(p);
        let name = identifier(p)?.value;
        if fields.iter().any(|field| field.name == name) {
            return syntax(start, format!("the field {name} is defined twice"));
        }
        fields.push(Field::new(name, nested(p, depth + 1, true)?));
        // The field's comment.
        if matches!(p.peek_token_ref().token, Token::SingleQuotedString(_)) {
            p.advance_token();
        }
        if !p.consume_token(&Token::Comma) {
            want_token(p, &close)?;
            return Ok(TypeKind::Row(fields));
        }
    }
}

fn decimal(p: &mut Parser) -> Parsed<TypeKind> {
    if !p.consume_token(&Token::LParen) {
        return Ok(TypeKind::Decimal { precision: 10, scale: 0 });
    }
    let precision = number(p, "the precision of a DECIMAL", 1, 38)?;
    let scale = if p.consume_token(&Token::Comma) { number(p, "the scale of this DECIMAL", 0, precision)? } else { 0 };
    want_token(p, &Token::RParen)?;
    Ok(TypeKind::Decimal { precision, scale })
}

fn timestamp(p: &mut Parser) -> Parsed<TypeKind> {
    let precision = precision(p, 6)?;
    let zone = here(p);
    if eat(p, &["WITH", "LOCAL", "TIME", "ZONE"]) {
        return Ok(TypeKind::TimestampLtz(precision, TimestampKind::Regular));
    }
    if at_all(p, &["WITH", "TIME", "ZONE"]) {
        return unsupported(zone, "TIMESTAMP WITH TIME ZONE is not supported: write TIMESTAMP_LTZ for an instant");
    }
    eat(p, &["WITHOUT", "TIME", "ZONE"]);
    Ok(TypeKind::Timestamp(precision, TimestampKind::Regular))
}

/// `INTERVAL unit[(p)] [TO unit[(p)]]`; the precisions only limit literals, values are always months or milliseconds.
fn interval(p: &mut Parser) -> Parsed<TypeKind> {
    const DAY_TIME: [&str; 4] = ["DAY", "HOUR", "MINUTE", "SECOND"];
    if eat(p, &["YEAR"]) {
        unit_precision(p, 1, 4)?;
        if eat(p, &["TO"]) {
            want(p, &["MONTH"])?;
        }
        return Ok(TypeKind::IntervalYearMonth);
    }
    if eat(p, &["MONTH"]) {
        return Ok(TypeKind::IntervalYearMonth);
    }
    let Some(from) = DAY_TIME.iter().position(|unit| at(p, 0, unit)) else {
        return expected("YEAR, MONTH, DAY, HOUR, MINUTE or SECOND", p.peek_token_ref());
    };
    p.advance_token();
    match DAY_TIME[from] {
        "DAY" => unit_precision(p, 1, 6)?,
        "SECOND" => unit_precision(p, 0, 9)?,
        _ => {}
    }
    if eat(p, &["TO"]) {
        let Some(to) = DAY_TIME.iter().skip(from + 1).position(|unit| at(p, 0, unit)) else {
            return expected(&format!("a unit smaller than {}", DAY_TIME[from]), p.peek_token_ref());
        };
        p.advance_token();
        if DAY_TIME[from + 1 + to] == "SECOND" {
            unit_precision(p, 0, 9)?;
        }
    }
    Ok(TypeKind::IntervalDayTime)
}

fn unit_precision(p: &mut Parser, min: u8, max: u8) -> Parsed<()> {
    if p.consume_token(&Token::LParen) {
        number(p, "the precision of this unit", min, max)?;
        want_token(p, &Token::RParen)?;
    }
    Ok(())
}

/// `[(n)]` of a string or binary type.
fn length(p: &mut Parser) -> Parsed<u32> {
    if !p.consume_token(&Token::LParen) {
        return Ok(1);
    }
    let length = number(p, "the length", 1, MAX_LENGTH)?;
    want_token(p, &Token::RParen)?;
    Ok(length)
}

/// `[(p)]` of a time type.
fn precision(p: &mut Parser, default: u8) -> Parsed<u8> {
    if !p.consume_token(&Token::LParen) {
        return Ok(default);
    }
    let precision = number(p, "the precision", 0, 9)?;
    want_token(p, &Token::RParen)?;
    Ok(precision)
}

fn number<T: std::str::FromStr + PartialOrd + std::fmt::Display>(
    p: &mut Parser,
    what: &str,
    min: T,
    max: T,
) -> Parsed<T> {
    let token = p.peek_token_ref();
    let Token::Number(text, _) = &token.token else {
        return expected("a number", token);
    };
    match text.parse::<T>() {
        Ok(value) if value >= min && value <= max => {
            p.advance_token();
            Ok(value)
        }
        _ => syntax(token.span.start, format!("{what} must be between {min} and {max}, not {text}")),
    }
}
