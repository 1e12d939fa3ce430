//! How expressions and operators are written in names and plans, close to Flink's `EXPLAIN`.

use std::fmt::Write;

use chrono::DateTime;

use super::rel::{JoinForm, WindowBounds};
use crate::expr::{Expr, Scalar};
use crate::graph::pattern::{AfterMatch, MatchRecognizeSpec, Pattern, RowsPerMatch};
use crate::graph::{
    AggregateCall, AggregateFunction, ExpandSpec, GroupAggregateSpec, NullOrder, RankSpec, SortKey, SortOrder,
    WindowAggregateSpec, WindowInput, WindowKind, WindowProperty, WindowTableSpec,
};
use crate::types::{DataType, Schema, TypeKind, timestamp_unit};
use arrow::datatypes::TimeUnit;

/// Operators that stand between their arguments.
const INFIX: &[&str] = &["+", "-", "*", "/", "%", "=", "<>", "<", "<=", ">", ">=", "AND", "OR", "||", "LIKE"];

/// An expression over columns of these names.
pub fn expr(expr: &Expr, input: &Schema) -> String {
    let mut text = String::new();
    write_expr(&mut text, expr, input);
    text
}

fn write_expr(out: &mut String, node: &Expr, input: &Schema) {
    match node {
        Expr::Column { index, .. } => match input.fields.get(*index) {
            Some(field) => out.push_str(&field.name),
            None => out.push_str(&format!("${index}")),
        },
        Expr::Field { row, index, .. } => {
            write_expr(out, row, input);
            let TypeKind::Row(fields) = &row.data_type().kind else { return };
            out.push('.');
            out.push_str(fields.get(*index).map_or("?", |f| f.name.as_str()));
        }
        Expr::Literal { value, data_type } => out.push_str(&literal(value, data_type)),
        Expr::Call { function, args, .. } => write_call(out, function, args, input),
        Expr::Case { branches, otherwise, .. } => {
            out.push_str("CASE");
            for (condition, value) in branches {
                out.push_str(" WHEN ");
                write_expr(out, condition, input);
                out.push_str(" THEN ");
                write_expr(out, value, input);
            }
            out.push_str(" ELSE ");
            write_expr(out, otherwise, input);
            out.push_str(" END");
        }
        Expr::Cast { input: inner, on_failure_null, data_type } => {
            out.push_str(if *on_failure_null { "TRY_CAST(" } else { "CAST(" });
            write_expr(out, inner, input);
            out.push_str(&format!(" AS {})", data_type.kind));
        }
    }
}

fn write_call(out: &mut String, function: &str, args: &[Expr], input: &Schema) {
    match (function, args) {
        (name, [left, right]) if INFIX.contains(&name) => {
            out.push('(');
            write_expr(out, left, input);
            out.push_str(&format!(" {name} "));
            write_expr(out, right, input);
            out.push(')');
        }
        (name, [operand]) if name.starts_with("IS_") && name != "IS_JSON" => {
            out.push('(');
            write_expr(out, operand, input);
            out.push_str(&format!(" {})", name.replace('_', " ")));
        }
        (name, args) => {
            out.push_str(name);
            out.push('(');
            for (i, arg) in args.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write_expr(out, arg, input);
            }
            out.push(')');
        }
    }
}

fn literal(value: &Scalar, data_type: &DataType) -> String {
    match (value, &data_type.kind) {
        (Scalar::Null, _) => "null".to_owned(),
        (Scalar::Boolean(b), _) => b.to_string(),
        (Scalar::Int(v), TypeKind::Timestamp(p, _) | TypeKind::TimestampLtz(p, _)) => {
            let moment = match timestamp_unit(*p) {
                TimeUnit::Nanosecond => Some(DateTime::from_timestamp_nanos(*v)),
                TimeUnit::Microsecond => DateTime::from_timestamp_micros(*v),
                _ => DateTime::from_timestamp_millis(*v),
            };
            moment.map_or_else(|| v.to_string(), |m| m.naive_utc().to_string())
        }
        (Scalar::Int(v), TypeKind::Date) => {
            let day = v.checked_mul(86_400).and_then(|s| DateTime::from_timestamp(s, 0));
            day.map_or_else(|| v.to_string(), |d| d.date_naive().to_string())
        }
        (Scalar::Int(v), TypeKind::IntervalDayTime) => format!("{v}:INTERVAL DAY TO SECOND"),
        (Scalar::Int(v), TypeKind::IntervalYearMonth) => format!("{v}:INTERVAL YEAR TO MONTH"),
        (Scalar::Int(v), _) => v.to_string(),
        (Scalar::Double(v), _) => format!("{v:e}"),
        (Scalar::Decimal(unscaled), TypeKind::Decimal { scale, .. }) => decimal(unscaled, usize::from(*scale)),
        (Scalar::Decimal(unscaled), _) => unscaled.clone(),
        (Scalar::String(text), _) => format!("'{}'", text.replace('\'', "''")),
        (Scalar::Binary(bytes), _) => format!("X'{}'", hex::encode(bytes)),
    }
}

fn decimal(unscaled: &str, scale: usize) -> String {
    let (sign, digits) = unscaled.strip_prefix('-').map_or(("", unscaled), |d| ("-", d));
    if scale == 0 {
        return unscaled.to_owned();
    }
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

/// `Calc(select=[…], where=[…])`.
pub fn calc(filter: Option<&Expr>, projection: &[Expr], input: &Schema, output: &Schema) -> String {
    let select: Vec<String> = projection
        .iter()
        .zip(&output.fields)
        .map(|(e, f)| {
            let text = expr(e, input);
            if text == f.name { text } else { format!("{text} AS {}", f.name) }
        })
        .collect();
    let mut text = format!("Calc(select=[{}]", select.join(", "));
    if let Some(filter) = filter {
        let _ = write!(text, ", where=[{}]", expr(filter, input));
    }
    text.push(')');
    text
}

/// A duration in the largest unit that divides it.
fn ms(value: i64) -> String {
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)] {
        if value != 0 && value % size == 0 {
            return format!("{} {unit}", value / size);
        }
    }
    format!("{value} ms")
}

/// `TUMBLE(time_col=[ts], size=[10 s])`.
pub fn window(window: &WindowKind, rowtime: usize, input: &Schema) -> String {
    let column = input.fields.get(rowtime).map_or("?", |f| f.name.as_str());
    let (name, lengths, offset) = match *window {
        WindowKind::Tumble { size_ms, offset_ms } => ("TUMBLE", vec![("size", size_ms)], offset_ms),
        WindowKind::Hop { size_ms, slide_ms, offset_ms } => {
            ("HOP", vec![("size", size_ms), ("slide", slide_ms)], offset_ms)
        }
        WindowKind::Cumulate { size_ms, step_ms, offset_ms } => {
            ("CUMULATE", vec![("max_size", size_ms), ("step", step_ms)], offset_ms)
        }
        WindowKind::Session { gap_ms } => ("SESSION", vec![("gap", gap_ms)], 0),
    };
    let mut text = format!("{name}(time_col=[{column}]");
    for (length, value) in lengths {
        let _ = write!(text, ", {length}=[{}]", ms(value));
    }
    if offset != 0 {
        let _ = write!(text, ", offset=[{}]", ms(offset));
    }
    text.push(')');
    text
}

/// As [`window`], with the columns of `PARTITION BY`.
pub fn window_table(spec: &WindowTableSpec, input: &Schema) -> String {
    let mut text = window(&spec.window, spec.rowtime, input);
    if !spec.partition_by.is_empty() {
        let name = |i: &usize| input.fields.get(*i).map_or("?", |f| f.name.as_str());
        let keys: Vec<&str> = spec.partition_by.iter().map(name).collect();
        text.truncate(text.len() - 1);
        let _ = write!(text, ", partition keys=[{}])", keys.join(", "));
    }
    text
}

/// `WindowRank(window=[…], rankType=[ROW_NUMBER], rankRange=[…], partitionBy=[…], orderBy=[…])`.
pub fn rank(spec: &RankSpec, window: Option<WindowBounds>, input: &Schema) -> String {
    let name = |i: usize| input.fields.get(i).map_or("?", |f| f.name.as_str());
    let mut text = match window {
        Some(w) => format!("WindowRank(window=[(win_start=[{}], win_end=[{}])], ", name(w.start), name(w.end)),
        None if !spec.number && spec.partition_by.is_empty() => "SortLimit(".to_owned(),
        None => "Rank(".to_owned(),
    };
    let of_window = |c: &usize| window.is_some_and(|w| *c == w.start || *c == w.end);
    let keys: Vec<&str> = spec.partition_by.iter().filter(|c| !of_window(c)).map(|c| name(*c)).collect();
    let order: Vec<String> = spec.order_by.iter().map(|key| sort_key(key, input)).collect();
    let _ = write!(
        text,
        "rankType=[ROW_NUMBER], rankRange=[rankStart={}, rankEnd={}], partitionBy=[{}], orderBy=[{}], outputRowNumber=[{}])",
        spec.first,
        spec.last,
        keys.join(", "),
        order.join(", "),
        spec.number
    );
    text
}

/// `price DESC NULLS FIRST`.
fn sort_key(key: &SortKey, input: &Schema) -> String {
    let name = input.fields.get(key.column).map_or("?", |f| f.name.as_str());
    let (direction, usual) = match key.order {
        SortOrder::Ascending => ("ASC", NullOrder::First),
        SortOrder::Descending => ("DESC", NullOrder::Last),
    };
    let nulls = match key.nulls {
        nulls if nulls == usual => "",
        NullOrder::First => " NULLS FIRST",
        NullOrder::Last => " NULLS LAST",
    };
    format!("{name} {direction}{nulls}")
}

/// `GlobalWindowAggregate(groupBy=[…], window=[…], select=[…])`.
pub fn window_aggregate(spec: &WindowAggregateSpec, input: &Schema, output: &Schema) -> String {
    let name = |i: usize| input.fields.get(i).map_or("?", |f| f.name.as_str());
    let assigned = match &spec.input {
        WindowInput::Assign { window: kind, rowtime } => window(kind, *rowtime, input),
        WindowInput::Attached { window_start, window_end, .. } => {
            format!("(win_start=[{}], win_end=[{}])", name(*window_start), name(*window_end))
        }
    };
    let keys: Vec<&str> = spec.keys.iter().map(|k| name(*k)).collect();
    let mut select: Vec<String> = keys.iter().map(|k| (*k).to_owned()).collect();
    let mut outputs = output.fields.iter().skip(keys.len()).map(|f| f.name.as_str());
    for call in &spec.aggregates {
        select.push(format!("{} AS {}", aggregate(call, input), outputs.next().unwrap_or("?")));
    }
    for property in &spec.properties {
        let text = match property {
            WindowProperty::Start => "start('w$)",
            WindowProperty::End => "end('w$)",
            WindowProperty::Time => "rowtime('w$)",
        };
        select.push(format!("{text} AS {}", outputs.next().unwrap_or("?")));
    }
    let group = if keys.is_empty() { String::new() } else { format!("groupBy=[{}], ", keys.join(", ")) };
    format!("GlobalWindowAggregate({group}window=[{assigned}], select=[{}])", select.join(", "))
}

/// `GroupAggregate(groupBy=[…], select=[…])`.
pub fn group_aggregate(spec: &GroupAggregateSpec, input: &Schema, output: &Schema) -> String {
    let name = |i: usize| input.fields.get(i).map_or("?", |f| f.name.as_str());
    let keys: Vec<&str> = spec.keys.iter().map(|k| name(*k)).collect();
    let mut select: Vec<String> = keys.iter().map(|k| (*k).to_owned()).collect();
    for (call, field) in spec.aggregates.iter().zip(output.fields.iter().skip(keys.len())) {
        select.push(format!("{} AS {}", aggregate(call, input), field.name));
    }
    let group = if keys.is_empty() { String::new() } else { format!("groupBy=[{}], ", keys.join(", ")) };
    format!("GroupAggregate({group}select=[{}])", select.join(", "))
}

/// `Expand(projects=[{…}, …])`.
pub fn expand(spec: &ExpandSpec, input: &Schema, output: &Schema) -> String {
    let one = |projection: &Vec<Expr>| {
        let columns = projection.iter().zip(&output.fields).map(|(e, f)| {
            let text = expr(e, input);
            if text == f.name { text } else { format!("{text} AS {}", f.name) }
        });
        format!("{{{}}}", columns.collect::<Vec<_>>().join(", "))
    };
    format!("Expand(projects=[{}])", spec.projections.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// `COUNT(DISTINCT x) FILTER f`.
pub fn aggregate(call: &AggregateCall, input: &Schema) -> String {
    let name = |i: usize| input.fields.get(i).map_or("?", |f| f.name.as_str());
    let function = match call.function {
        AggregateFunction::CountStar | AggregateFunction::Count => "COUNT",
        AggregateFunction::Sum => "SUM",
        AggregateFunction::Min => "MIN",
        AggregateFunction::Max => "MAX",
        AggregateFunction::Avg => "AVG",
        AggregateFunction::FirstValue => "FIRST_VALUE",
        AggregateFunction::LastValue => "LAST_VALUE",
        AggregateFunction::ListAgg => "LISTAGG",
        AggregateFunction::Collect => "COLLECT",
        AggregateFunction::ArrayAgg => "ARRAY_AGG",
        AggregateFunction::JsonArrayAgg { .. } => "JSON_ARRAYAGG",
        AggregateFunction::JsonObjectAgg { .. } => "JSON_OBJECTAGG",
    };
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let argument = call.argument.map_or("*", name);
    let filter = call.filter.map(|f| format!(" FILTER {}", name(f))).unwrap_or_default();
    format!("{function}({distinct}{argument}){filter}")
}

/// `Match(partitionBy=[…], orderBy=[…], pattern=[…], …)`.
pub fn match_recognize(spec: &MatchRecognizeSpec, input: &Schema) -> String {
    let name = |i: usize| input.fields.get(i).map_or("?", |f| f.name.as_str());
    let keys: Vec<&str> = spec.keys.iter().map(|k| name(*k)).collect();
    let mut text = "Match(".to_owned();
    if !keys.is_empty() {
        let _ = write!(text, "partitionBy=[{}], ", keys.join(", "));
    }
    let _ = write!(text, "orderBy=[{}], ", sort_keys(&spec.order, input));
    let rows = match spec.rows {
        RowsPerMatch::One => "ONE ROW PER MATCH",
        RowsPerMatch::All => "ALL ROWS PER MATCH",
    };
    let names = |of: &[usize]| {
        of.iter().filter_map(|v| spec.variables.get(*v)).map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    let skip = match &spec.after_match {
        AfterMatch::ToNextRow => "SKIP TO NEXT ROW".to_owned(),
        AfterMatch::PastLastRow => "SKIP PAST LAST ROW".to_owned(),
        AfterMatch::ToFirst(of) => format!("SKIP TO FIRST {}", names(of)),
        AfterMatch::ToLast(of) => format!("SKIP TO LAST {}", names(of)),
    };
    let _ =
        write!(text, "rowsPerMatch=[{rows}], after=[{skip}], pattern=[{}]", pattern(&spec.pattern, &spec.variables));
    if let Some(within) = spec.within_ms {
        let _ = write!(text, ", within=[{}]", ms(within));
    }
    text.push(')');
    text
}

/// A row pattern as it is written.
pub fn pattern(pattern: &Pattern, variables: &[String]) -> String {
    let list = |parts: &[Pattern], between: &str| {
        parts.iter().map(|p| self::pattern(p, variables)).collect::<Vec<_>>().join(between)
    };
    match pattern {
        Pattern::Variable(variable) => variables.get(*variable).cloned().unwrap_or_default(),
        Pattern::Concat(parts) => format!("({})", list(parts, " ")),
        Pattern::Alternation(parts) => format!("({})", list(parts, " | ")),
        Pattern::Repeat { pattern, min, max, greedy } => {
            let quantifier = match (min, max) {
                (0, None) => "*".to_owned(),
                (1, None) => "+".to_owned(),
                (0, Some(1)) => "?".to_owned(),
                (min, None) => format!("{{{min},}}"),
                (min, Some(max)) => format!("{{{min},{max}}}"),
            };
            format!("{}{quantifier}{}", self::pattern(pattern, variables), if *greedy { "" } else { "?" })
        }
    }
}

/// `ts ASC, price DESC NULLS FIRST`.
pub fn sort_keys(order: &[SortKey], input: &Schema) -> String {
    order.iter().map(|key| sort_key(key, input)).collect::<Vec<_>>().join(", ")
}

/// `Sort(orderBy=[…])`.
pub fn temporal_sort(order: &[SortKey], input: &Schema) -> String {
    format!("TemporalSort(orderBy=[{}])", sort_keys(order, input))
}

/// `Correlate(invocation=[UNNEST(…)], joinType=[…], select=[…])`.
pub fn unnest(unnest: &super::rel::Unnest, input: &Schema) -> String {
    let kind = if unnest.spec.keeps_empty { "LEFT" } else { "INNER" };
    let ordinality = if unnest.spec.ordinality { " WITH ORDINALITY" } else { "" };
    format!(
        "Correlate(invocation=[UNNEST({}){ordinality}], joinType=[{kind}], select=[{}])",
        expr(&unnest.spec.collection, input),
        names(&unnest.schema)
    )
}

/// `Join(joinType=[InnerJoin], where=[…], select=[…])`, as Flink names the forms.
pub fn join(join: &super::rel::Join, left: &Schema, right: &Schema) -> String {
    let mut both = left.clone();
    both.fields.extend(right.fields.iter().cloned());
    let both = super::from::output_fields(&both);
    let name = |i: usize| both.get(i).map_or("?", |f| f.name.as_str());
    let arity = left.fields.len();
    let condition = &join.condition;
    let keys = condition.keys.iter().map(|k| {
        let test = if k.null_safe { "IS NOT DISTINCT FROM" } else { "=" };
        format!("({} {test} {})", name(k.left), name(arity + k.right))
    });
    let named = Schema::new(both.clone());
    let tests: Vec<String> = keys.chain(condition.residual.iter().map(|r| expr(r, &named))).collect();
    let mut text = match join.form {
        JoinForm::Regular => format!("Join(joinType=[{}]", condition.kind.name()),
        JoinForm::Interval { left_time, right_time, lower_ms, upper_ms } => format!(
            "IntervalJoin(joinType=[{}], windowBounds=[isRowTime=true, leftLowerBound={lower_ms}, leftUpperBound={upper_ms}, \
             leftTimeIndex={left_time}, rightTimeIndex={right_time}]",
            condition.kind.name()
        ),
        JoinForm::Temporal { left_time, .. } => {
            format!("TemporalJoin(joinType=[{}], asOf=[{}]", condition.kind.name(), name(left_time))
        }
        JoinForm::Window { left, right } => {
            let side = |w: &WindowBounds, base: usize| {
                format!("(win_start=[{}], win_end=[{}])", name(base + w.start), name(base + w.end))
            };
            let (mine, theirs) = (side(&left, 0), side(&right, arity));
            format!("WindowJoin(leftWindow=[{mine}], rightWindow=[{theirs}], joinType=[{}]", condition.kind.name())
        }
    };
    if !tests.is_empty() {
        let _ = write!(text, ", where=[{}]", tests.join(" AND "));
    }
    let _ = write!(text, ", select=[{}])", names(&join.schema));
    text
}

/// The names of columns, separated by commas.
pub fn names(schema: &Schema) -> String {
    schema.fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", ")
}
