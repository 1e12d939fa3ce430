//! Statements of the dialect. Queries and expressions are `sqlparser`'s nodes; what it cannot express is ours.

use sqlparser::ast as sp;

use crate::types::DataType;

/// A position in the SQL text; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    pub line: u64,
    pub column: u64,
}

/// One statement with the position of its first token.
#[derive(Debug, Clone)]
pub struct PositionedStatement {
    pub position: Position,
    pub statement: Statement,
}

/// A statement.
#[derive(Debug, Clone)]
pub enum Statement {
    CreateTable(Box<CreateTable>),
    CreateView(CreateView),
    /// `DROP [TEMPORARY] TABLE | VIEW [IF EXISTS] name`.
    Drop {
        is_view: bool,
        if_exists: bool,
        name: sp::Ident,
    },
    /// `INSERT INTO name [(columns)] query`.
    Insert(Insert),
    /// `EXECUTE STATEMENT SET BEGIN … END` or `BEGIN STATEMENT SET; … END`.
    StatementSet(Vec<Insert>),
    /// `SET 'key' = 'value'`.
    Set {
        key: String,
        value: String,
        position: Position,
    },
    /// `RESET ['key']`.
    Reset {
        key: Option<String>,
    },
    /// A bare query.
    Query(Box<sp::Query>),
    /// `EXPLAIN [PLAN FOR] statement`.
    Explain(Box<PositionedStatement>),
}

/// `INSERT INTO`.
#[derive(Debug, Clone)]
pub struct Insert {
    pub table: sp::Ident,
    pub columns: Vec<sp::Ident>,
    pub query: Box<sp::Query>,
}

/// `CREATE [TEMPORARY] TABLE`.
#[derive(Debug, Clone)]
pub struct CreateTable {
    pub if_not_exists: bool,
    pub name: sp::Ident,
    pub columns: Vec<ColumnDefinition>,
    pub watermark: Option<Watermark>,
    pub primary_key: Vec<sp::Ident>,
    pub partitioned_by: Vec<sp::Ident>,
    /// In written order, with the key's position; a repeated key is refused by the parser.
    pub options: Vec<(String, String, Position)>,
    /// `LIKE table [(INCLUDING …, EXCLUDING …, OVERWRITING …)]`.
    pub like: Option<sp::Ident>,
}

/// A column of a table.
#[derive(Debug, Clone)]
pub struct ColumnDefinition {
    pub name: sp::Ident,
    pub position: Position,
    pub kind: ColumnKind,
}

/// Kinds of columns.
#[derive(Debug, Clone)]
pub enum ColumnKind {
    Physical(DataType),
    /// `name AS expr`.
    Computed(Box<sp::Expr>),
    /// `name type METADATA [FROM 'key'] [VIRTUAL]`.
    Metadata {
        data_type: DataType,
        key: String,
        is_virtual: bool,
    },
}

/// `WATERMARK FOR column AS expr`.
#[derive(Debug, Clone)]
pub struct Watermark {
    pub column: sp::Ident,
    pub expr: Box<sp::Expr>,
    pub position: Position,
}

/// `CREATE [TEMPORARY] VIEW`.
#[derive(Debug, Clone)]
pub struct CreateView {
    pub if_not_exists: bool,
    pub name: sp::Ident,
    pub columns: Vec<sp::Ident>,
    pub query: Box<sp::Query>,
}
