//! `function(…) OVER (PARTITION BY … ORDER BY time … frame)`, with named windows.
//!
//! A call becomes a column from [`OVER_BASE`] on; the select list is bound without the calls ([`lift`]) and one `Over` for
//! each window put on top ([`Lifted::apply`]), so that it may stand over groups of the same `SELECT`. What a stream cannot
//! answer is refused as Flink does: frames that look ahead, an order that is not that of time.

use sqlparser::ast as sp;
use sqlparser::ast::{WindowFrameBound, WindowFrameUnits, WindowType};

use super::expression::{AGGREGATE_BASE, Binder};
use super::order::{self, OrderItem};
use super::place::{self, unsupported};
use super::query::{Bound, Item, project};
use super::rel::{self, Rel};
use super::{coercion, literal};
use crate::error::{Error, Result};
use crate::expr::{Expr, Scalar};
use crate::graph::over::{OverCall, OverFrame, OverSpec};
use crate::graph::{AggregateCall, SortOrder};
use crate::sql::ast::Position;
use crate::types::{DataType, Field, Schema, TimestampKind, TypeKind};

/// The first column number that stands for a call.
pub const OVER_BASE: usize = AGGREGATE_BASE + AGGREGATE_BASE / 2;

/// A bound window.
#[derive(Debug, Clone, PartialEq)]
struct Window {
    partition: Vec<Expr>,
    time: Expr,
    processing_time: bool,
    frame: OverFrame,
}

/// A call over a window, its arguments over the query's input.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundOver {
    window: Window,
    function: Function,
    data_type: DataType,
    at: Position,
}

#[derive(Debug, Clone, PartialEq)]
enum Function {
    Aggregate(super::aggregate::BoundAggregate),
    Lag { value: Expr, offset: u64, default: Option<Expr> },
}

impl Binder<'_> {
    /// The window of an `OVER`, with what it takes from named ones.
    pub(super) fn window_spec(&self, over: &WindowType) -> Result<sp::WindowSpec> {
        let mut spec = match over {
            WindowType::WindowSpec(spec) => spec.clone(),
            WindowType::NamedWindow(name) => sp::WindowSpec {
                window_name: Some(name.clone()),
                partition_by: vec![],
                order_by: vec![],
                window_frame: None,
            },
        };
        // Each name may refer to another one, defined before it.
        for _ in 0..=self.named_windows.len() {
            let Some(name) = spec.window_name.take() else { return Ok(spec) };
            let at = place::of_span(name.span).unwrap_or(self.here);
            let found = self.named_windows.iter().find(|w| w.0.value == name.value);
            let Some(sp::NamedWindowDefinition(_, definition)) = found else {
                return Err(place::error("sql_type", format!("there is no WINDOW '{}'", name.value), at));
            };
            match definition {
                sp::NamedWindowExpr::NamedWindow(other) => spec.window_name = Some(other.clone()),
                sp::NamedWindowExpr::WindowSpec(base) => {
                    spec.window_name.clone_from(&base.window_name);
                    if spec.partition_by.is_empty() {
                        spec.partition_by.clone_from(&base.partition_by);
                    }
                    if spec.order_by.is_empty() {
                        spec.order_by.clone_from(&base.order_by);
                    }
                    if spec.window_frame.is_none() {
                        spec.window_frame.clone_from(&base.window_frame);
                    }
                }
            }
        }
        unsupported("a WINDOW that refers to itself is not supported", "write it out", self.here)
    }

    /// Binds a call over a window.
    pub(super) fn over(&mut self, name: &str, function: &sp::Function, spec: &sp::WindowSpec) -> Result<Expr> {
        let at = self.here;
        if self.over.is_none() {
            let what = "an OVER aggregate is not supported here";
            return unsupported(what, "select it in a subquery, and use it above", at);
        }
        let window = self.window(spec, at)?;
        let (function, data_type, wrapped) = match name {
            "LAG" => {
                let (function, data_type) = self.lag(function)?;
                (function, data_type, None)
            }
            "LEAD" | "RANK" | "DENSE_RANK" | "NTILE" | "CUME_DIST" | "PERCENT_RANK" | "NTH_VALUE" => {
                let what = format!("{name} over a stream is not supported");
                return unsupported(&what, "it needs rows that have not come yet: use ROW_NUMBER or LAG", at);
            }
            _ => {
                let mut plain = function.clone();
                plain.over = None;
                let known = self.aggregates.as_ref().map_or(0, |a| a.calls.len());
                let bound = self.function(&plain)?;
                let mut call = None;
                rel::each_column(&bound, &mut |index| call = call.or(index.checked_sub(AGGREGATE_BASE)));
                let Some(aggregates) = self.aggregates.as_mut() else {
                    return unsupported("OVER is not supported here", "select it in a subquery", at);
                };
                let Some(found) = call.and_then(|c| aggregates.calls.get(c).cloned()) else {
                    let message = format!("{name} is no aggregate function: leave OVER out");
                    return Err(place::error("sql_type", message, at));
                };
                // It is not one of the query's own aggregates.
                aggregates.calls.truncate(known);
                let data_type = found.data_type.clone();
                (Function::Aggregate(found), data_type, Some(bound))
            }
        };
        let call = BoundOver { window, function, data_type: data_type.clone(), at };
        let Some(calls) = self.over.as_mut() else {
            return Err(Error::internal("it was checked that OVER is allowed"));
        };
        let same = |c: &BoundOver| c.window == call.window && c.function == call.function;
        let index = calls.iter().position(same).unwrap_or_else(|| {
            calls.push(call);
            calls.len() - 1
        });
        let column = Expr::column(OVER_BASE + index, data_type);
        Ok(match wrapped {
            Some(bound) => rel::substitute(&bound, &mut |_, _| column.clone()),
            None => column,
        })
    }

    fn window(&mut self, spec: &sp::WindowSpec, at: Position) -> Result<Window> {
        let partition = spec.partition_by.iter().map(|p| self.bind(p)).collect::<Result<Vec<_>>>()?;
        let mut items: Vec<OrderItem> = Vec::new();
        for item in &spec.order_by {
            let at = place::position(&item.expr).unwrap_or(at);
            items.push(order::item(item, |node| self.bind(node), at)?);
        }
        let [item] = items.as_slice() else {
            let what = "OVER without ORDER BY one time attribute is not supported";
            return unsupported(what, "order it by the event-time column", at);
        };
        let processing_time = matches!(item.expr.data_type().kind, TypeKind::TimestampLtz(_, TimestampKind::Proctime));
        if !processing_time && !item.expr.data_type().kind.is_rowtime() {
            let what = "OVER a stream in another order than that of a time attribute is not supported";
            return unsupported(what, "order it by the event-time column", item.at);
        }
        if item.order != SortOrder::Ascending {
            let what = "OVER in descending order of time is not supported";
            return unsupported(what, "leave DESC out", item.at);
        }
        let mut frame = self.frame(spec.window_frame.as_ref(), at)?;
        if processing_time && let OverFrame::Range { preceding_ms } = frame {
            if preceding_ms.is_some() {
                let what = "a RANGE interval by processing time is not supported";
                return unsupported(what, "use ROWS, or event time", at);
            }
            // Each row has a time of its own.
            frame = OverFrame::Rows { preceding: None };
        }
        Ok(Window { partition, time: item.expr.clone(), processing_time, frame })
    }

    fn frame(&mut self, frame: Option<&sp::WindowFrame>, at: Position) -> Result<OverFrame> {
        let Some(frame) = frame else { return Ok(OverFrame::Range { preceding_ms: None }) };
        if !matches!(frame.end_bound, None | Some(WindowFrameBound::CurrentRow)) {
            let what = "a frame that ends elsewhere than at CURRENT ROW is not supported";
            return unsupported(what, "write BETWEEN … PRECEDING AND CURRENT ROW", at);
        }
        let start = match &frame.start_bound {
            WindowFrameBound::Preceding(None) => None,
            WindowFrameBound::Preceding(Some(node)) => Some(Some(node.as_ref())),
            WindowFrameBound::CurrentRow => Some(None),
            WindowFrameBound::Following(_) => {
                let what = "a frame that begins after the current row is not supported";
                return unsupported(what, "write BETWEEN … PRECEDING AND CURRENT ROW", at);
            }
        };
        match frame.units {
            WindowFrameUnits::Rows => Ok(OverFrame::Rows {
                preceding: match start {
                    None => None,
                    Some(None) => Some(0),
                    Some(Some(node)) => match self.bind(node)? {
                        Expr::Literal { value: Scalar::Int(n), .. } if n >= 0 => Some(n.unsigned_abs()),
                        _ => return Err(place::error("sql_type", "ROWS needs a whole number of rows", at)),
                    },
                },
            }),
            WindowFrameUnits::Range => Ok(OverFrame::Range {
                preceding_ms: match start {
                    None => None,
                    Some(None) => Some(0),
                    Some(Some(sp::Expr::Interval(interval))) => match literal::interval(interval, at)? {
                        Expr::Literal { value: Scalar::Int(ms), data_type }
                            if data_type.kind == TypeKind::IntervalDayTime && ms >= 0 =>
                        {
                            Some(ms)
                        }
                        _ => return unsupported("a RANGE of months is not supported", "use days or shorter units", at),
                    },
                    Some(Some(_)) => {
                        let message = "RANGE needs a constant interval such as INTERVAL '10' SECOND";
                        return Err(place::error("sql_type", message, at));
                    }
                },
            }),
            WindowFrameUnits::Groups => unsupported("GROUPS is not part of Flink SQL", "use RANGE or ROWS", at),
        }
    }

    fn lag(&mut self, function: &sp::Function) -> Result<(Function, DataType)> {
        let at = self.here;
        let mut nodes = Vec::new();
        if let sp::FunctionArguments::List(list) = &function.args {
            for arg in &list.args {
                if let sp::FunctionArg::Unnamed(sp::FunctionArgExpr::Expr(node)) = arg {
                    nodes.push(node);
                }
            }
        }
        let [value, rest @ ..] = nodes.as_slice() else {
            return Err(place::error("sql_type", "LAG takes a value, an offset and a default", at));
        };
        let value = self.bind(value)?;
        let offset = match rest.first().map(|node| self.bind(node)).transpose()? {
            None => 1,
            Some(Expr::Literal { value: Scalar::Int(n), .. }) if n >= 0 => n.unsigned_abs(),
            Some(_) => return Err(place::error("sql_type", "the offset of LAG must be a constant, 0 or more", at)),
        };
        let default = match rest.get(1) {
            None => None,
            Some(node) => {
                let bound = self.bind(node)?;
                let kind = value.data_type().with_nullable(bound.data_type().nullable);
                Some(coercion::coerce(bound, &kind).map_err(|e| place::locate(e, at))?)
            }
        };
        let nullable = value.data_type().nullable || default.as_ref().is_none_or(|d| d.data_type().nullable);
        let data_type = value.data_type().with_nullable(nullable);
        Ok((Function::Lag { value, offset, default }, data_type))
    }
}

/// What goes on top of a select list without its calls.
pub struct Lifted {
    /// With columns of the lower list.
    specs: Vec<OverSpec>,
    /// Of each call: its spec, and its position there.
    places: Vec<(usize, usize)>,
    types: Vec<DataType>,
    /// Over the lower list; calls are from [`OVER_BASE`] on.
    items: Vec<Item>,
}

/// Splits a select list at its calls: what is computed below, and what goes on top.
pub fn lift(items: Vec<Item>, calls: Vec<BoundOver>) -> (Vec<Item>, Lifted) {
    let mut lower: Vec<Item> = Vec::with_capacity(items.len());
    let is_call = |index: usize| (OVER_BASE..OVER_BASE + calls.len()).contains(&index);
    let mut above = Vec::with_capacity(items.len());
    let (with, without): (Vec<_>, Vec<_>) =
        items.into_iter().enumerate().partition(|(_, item)| rel::any_column(&item.expr, is_call));
    for (position, item) in without {
        let expr = Expr::column(lower.len(), item.expr.data_type().clone());
        above.push((position, Item { expr, name: item.name.clone(), at: item.at }));
        lower.push(item);
    }
    let mut add = |expr: &Expr, at: Position| {
        lower.iter().position(|item| item.expr == *expr).unwrap_or_else(|| {
            lower.push(Item { expr: expr.clone(), name: format!("$over{}", lower.len()), at });
            lower.len() - 1
        })
    };
    for (position, item) in with {
        let expr = rel::substitute(&item.expr, &mut |index, data_type| {
            let column = Expr::column(index, data_type.clone());
            if is_call(index) { column } else { Expr::column(add(&column, item.at), data_type.clone()) }
        });
        above.push((position, Item { expr, ..item }));
    }
    let (mut windows, mut specs, mut places): (Vec<Window>, Vec<OverSpec>, Vec<(usize, usize)>) = Default::default();
    let types = calls.iter().map(|c| c.data_type.clone()).collect();
    for call in calls {
        let at = call.at;
        let spec = windows.iter().position(|w| *w == call.window).unwrap_or_else(|| {
            let window = call.window;
            let mut keys: Vec<usize> = Vec::new();
            for expr in &window.partition {
                let column = add(expr, at);
                if !keys.contains(&column) {
                    keys.push(column);
                }
            }
            specs.push(OverSpec {
                keys,
                time: add(&window.time, at),
                processing_time: window.processing_time,
                frame: window.frame,
                calls: vec![],
            });
            windows.push(window);
            windows.len() - 1
        });
        let bound = match call.function {
            Function::Aggregate(a) => OverCall::Aggregate(AggregateCall {
                function: a.function,
                argument: a.argument.as_ref().map(|e| add(e, at)),
                distinct: a.distinct,
                filter: a.filter.as_ref().map(|e| add(e, at)),
                data_type: a.data_type,
            }),
            Function::Lag { value, offset, default } => OverCall::Lag {
                column: add(&value, at),
                offset,
                default: default.as_ref().map(|e| add(e, at)),
                data_type: call.data_type,
            },
        };
        if let Some(found) = specs.get_mut(spec) {
            places.push((spec, found.calls.len()));
            found.calls.push(bound);
        }
    }
    above.sort_by_key(|(position, _)| *position);
    let items = above.into_iter().map(|(_, item)| item).collect();
    (lower, Lifted { specs, places, types, items })
}

impl Lifted {
    /// The calls over the lower list, and the select list over that.
    pub fn apply(self, input: Bound) -> Bound {
        let Bound { mut rel, mut windows } = input;
        let mut starts = Vec::with_capacity(self.specs.len());
        for spec in self.specs {
            let mut fields = rel.schema().fields.clone();
            starts.push(fields.len());
            for (n, call) in spec.calls.iter().enumerate() {
                fields.push(Field::new(format!("$o{}_{n}", starts.len()), call.data_type()));
                windows.push(None);
            }
            rel = Rel::Over { input: Box::new(rel), spec: Box::new(spec), schema: Schema::new(fields) };
        }
        let types: Vec<DataType> = rel.schema().fields.iter().map(|f| f.data_type.clone()).collect();
        let place = |expr: &Expr| {
            rel::substitute(expr, &mut |index, data_type| {
                let call =
                    index.checked_sub(OVER_BASE).and_then(|call| self.places.get(call).zip(self.types.get(call)));
                match call {
                    Some(((spec, position), of)) => {
                        Expr::column(starts.get(*spec).copied().unwrap_or_default() + position, of.clone())
                    }
                    None => Expr::column(index, types.get(index).unwrap_or(data_type).clone()),
                }
            })
        };
        let items = self.items.into_iter().map(|item| Item { expr: place(&item.expr), ..item }).collect();
        project(Bound { rel, windows }, items)
    }
}
