//! Flink's dialect for `sqlparser`: lexis and the hooks of the expression parser.

use std::any::TypeId;

use sqlparser::ast::Expr;
use sqlparser::dialect::{Dialect, GenericDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};

use super::expression;

/// Flink SQL. Without state: everything that a hook needs is in the parser.
#[derive(Debug)]
pub(super) struct FlinkDialect;

impl Dialect for FlinkDialect {
    /// Some of `sqlparser` asks for this id instead of a capability; the one such branch we need is `UNNEST`.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }
    /// `"` only so that `tokens` can say what to write instead.
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`' || ch == '"'
    }
    fn identifier_quote_style(&self, _identifier: &str) -> Option<char> {
        Some('`')
    }
    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_' || ch == '$'
    }
    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }
    fn supports_unicode_string_literal(&self) -> bool {
        true
    }
    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }
    fn supports_group_by_expr(&self) -> bool {
        true
    }
    fn supports_match_recognize(&self) -> bool {
        true
    }
    fn supports_table_versioning(&self) -> bool {
        true
    }
    fn supports_comment_optimizer_hint(&self) -> bool {
        true
    }
    fn supports_multiline_comment_hints(&self) -> bool {
        false
    }
    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        true
    }
    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }
    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }
    fn supports_left_associative_joins_without_parens(&self) -> bool {
        true
    }
    /// When one of these forms fails, `sqlparser` must not try again with the word as a name: the error would be the
    /// wrong one, and nested forms would be parsed 2^depth times.
    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        use Keyword as K;
        matches!(
            keyword,
            K::CASE
                | K::EXISTS
                | K::EXTRACT
                | K::CEIL
                | K::FLOOR
                | K::SUBSTR
                | K::SUBSTRING
                | K::OVERLAY
                | K::TRIM
                | K::ARRAY
                | K::NOT
                | K::TRUE
                | K::FALSE
                | K::NULL
                | K::CURRENT_TIMESTAMP
                | K::CURRENT_TIME
                | K::CURRENT_DATE
                | K::LOCALTIME
                | K::LOCALTIMESTAMP
        )
    }
    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        expression::prefix(parser)
    }
    fn parse_infix(&self, parser: &mut Parser, left: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        expression::infix(parser, left, precedence)
    }
}
