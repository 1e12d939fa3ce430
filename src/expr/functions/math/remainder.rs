//! `MOD`: the remainder with the sign of the dividend.
//!
//! Types as in Calcite: of two integers, the type of the second; otherwise a decimal as wide as the narrower whole part
//! and the longer fraction.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow::datatypes::{ArrowNativeTypeOp, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type};

use super::super::kernels::{
    any_nullable, arity, column, decimal_shape, not_applicable, row_count, try_zip, wrap, zip,
};
use super::number::unexpected;
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::types::{DataType, TypeKind};

pub(super) const MOD: Function = Function { name: "MOD", bind: |args| bind(args), prepare, deterministic: true };

const TAKES: &str = "two exact numbers (integers or DECIMAL)";

fn bind(args: &mut [Expr]) -> Result<DataType> {
    arity("MOD", TAKES, args, 2..=2)?;
    let shapes: Vec<_> = args.iter().filter_map(|a| decimal_shape(&a.data_type().kind)).collect();
    let ([(p, s), (q, t)], [_, divisor]) = (shapes.as_slice(), &*args) else {
        return Err(not_applicable("MOD", TAKES, args));
    };
    let kind = if args.iter().all(|a| a.data_type().kind.is_integer()) || (*s == 0 && *t == 0) {
        divisor.data_type().kind.clone()
    } else {
        let scale = *s.max(t);
        TypeKind::Decimal { precision: ((p - s).min(q - t) + scale).clamp(1, 38), scale }
    };
    Ok(DataType { kind, nullable: any_nullable(args) })
}

fn prepare(call: &Call<'_>) -> Result<Kernel> {
    let [dividend, divisor] = call.args else { return Err(unexpected(call)) };
    let (a, b) = (&dividend.data_type().kind, &divisor.data_type().kind);
    if !(a.is_integer() && b.is_integer()) {
        return prepare_decimal(call, a, b);
    }
    macro_rules! integers {
        ($($left:ident $a:ty, $right:ident $b:ty, $wide:ty;)*) => {
            match (a, b) {
                $((TypeKind::$left, TypeKind::$right) => Ok(Box::new(|args: &[Value], rows| {
                    remainders::<$a, $b>(args, rows, |x, y| {
                        // The remainder is smaller than the divisor, so it fits the divisor's type.
                        <$wide>::from(x).wrapping_rem(<$wide>::from(y)) as <$b as ArrowPrimitiveType>::Native
                    })
                }) as Kernel),)*
                _ => Err(unexpected(call)),
            }
        };
    }
    integers! {
        TinyInt Int8Type, TinyInt Int8Type, i8;
        TinyInt Int8Type, SmallInt Int16Type, i16;
        TinyInt Int8Type, Int Int32Type, i32;
        TinyInt Int8Type, BigInt Int64Type, i64;
        SmallInt Int16Type, TinyInt Int8Type, i16;
        SmallInt Int16Type, SmallInt Int16Type, i16;
        SmallInt Int16Type, Int Int32Type, i32;
        SmallInt Int16Type, BigInt Int64Type, i64;
        Int Int32Type, TinyInt Int8Type, i32;
        Int Int32Type, SmallInt Int16Type, i32;
        Int Int32Type, Int Int32Type, i32;
        Int Int32Type, BigInt Int64Type, i64;
        BigInt Int64Type, TinyInt Int8Type, i64;
        BigInt Int64Type, SmallInt Int16Type, i64;
        BigInt Int64Type, Int Int32Type, i64;
        BigInt Int64Type, BigInt Int64Type, i64;
    }
}

/// A constant divisor other than zero, the usual case, leaves a loop without branches; it runs over the values behind
/// nulls too.
fn remainders<A, B>(args: &[Value], rows: usize, f: impl Fn(A::Native, B::Native) -> B::Native) -> Result<Value>
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
{
    let constant = match args.get(1) {
        Some(Value::Scalar(_)) => column::<PrimitiveArray<B>>(args, 1)?.get(0),
        _ => None,
    };
    let array: ArrayRef = match constant {
        Some(y) if !y.is_zero() => Arc::new(zip::<A, B, B>(args, rows, f)?),
        _ => Arc::new(try_zip::<A, B, B>(args, rows, |x, y| if y.is_zero() { Err(by_zero()) } else { Ok(f(x, y)) })?),
    };
    Ok(wrap(args, array))
}

fn by_zero() -> Error {
    Error::invalid("division_by_zero", "division by zero in MOD; guard it with CASE or NULLIF")
}

fn prepare_decimal(call: &Call<'_>, a: &TypeKind, b: &TypeKind) -> Result<Kernel> {
    let (Some((_, s)), Some((_, t))) = (decimal_shape(a), decimal_shape(b)) else { return Err(unexpected(call)) };
    let scale = s.max(t);
    let (up_a, up_b) = (10_i128.pow((scale - s).into()), 10_i128.pow((scale - t).into()));
    let result_type = call.data_type.clone();
    Ok(Box::new(move |args, rows| {
        let (left, right) = (Unscaled::new(args, 0)?, Unscaled::new(args, 1)?);
        let values = (0..row_count(args, rows)).map(|row| {
            let Some((x, y)) = left.get(row).zip(right.get(row)) else { return Ok(None) };
            if y == 0 {
                return Err(by_zero());
            }
            remainder(x, up_a, y, up_b).map(Some)
        });
        let array = values.collect::<Result<PrimitiveArray<Decimal128Type>>>()?;
        let array: ArrayRef = match &result_type.kind {
            TypeKind::Decimal { .. } => Arc::new(array.with_data_type(result_type.to_arrow())),
            _ => arrow::compute::cast(&array.with_precision_and_scale(38, 0)?, &result_type.to_arrow())?,
        };
        Ok(wrap(args, array))
    }))
}

/// `(x * up_a) % (y * up_b)`. A product that does not fit is larger than any decimal: it cannot be the smaller one.
fn remainder(x: i128, up_a: i128, y: i128, up_b: i128) -> Result<i128> {
    match (x.checked_mul(up_a), y.checked_mul(up_b)) {
        (Some(x), Some(y)) => Ok(x % y),
        (Some(x), None) => Ok(x),
        // y is not scaled up here: one of the two factors is 1. Scale the remainder step by step instead.
        (None, _) => {
            let mut rest = x % y;
            let mut factor = up_a;
            while factor > 1 {
                rest = rest.checked_mul(10).ok_or_else(too_large)? % y;
                factor /= 10;
            }
            Ok(rest)
        }
    }
}

fn too_large() -> Error {
    Error::invalid("numeric_overflow", "the arguments of MOD are too large; cast them to fewer digits")
}

/// The unscaled values of a decimal or an integer argument.
struct Unscaled {
    values: PrimitiveArray<Decimal128Type>,
    constant: bool,
}

impl Unscaled {
    fn new(args: &[Value], index: usize) -> Result<Self> {
        let array = super::super::kernels::values(args, index)?;
        let values = match array.data_type() {
            arrow::datatypes::DataType::Decimal128(..) => {
                super::super::kernels::primitive::<Decimal128Type>(array)?.clone()
            }
            _ => {
                let wide = arrow::compute::cast(array, &arrow::datatypes::DataType::Int64)?;
                super::super::kernels::primitive::<Int64Type>(&wide)?.unary(i128::from)
            }
        };
        Ok(Unscaled { values, constant: matches!(args.get(index), Some(Value::Scalar(_))) })
    }
    fn get(&self, row: usize) -> Option<i128> {
        let at = if self.constant { 0 } else { row };
        self.values.is_valid(at).then(|| self.values.value(at))
    }
}

#[cfg(test)]
mod tests {
    use super::super::FUNCTIONS;
    use super::*;
    use crate::expr::functions::kernels::testing::{col, int, run, show};
    use arrow::array::{Decimal128Array, Int32Array, Int64Array};

    const DEC: TypeKind = TypeKind::Decimal { precision: 12, scale: 2 };

    fn dec(precision: u8, scale: i8, values: &[i128]) -> ArrayRef {
        Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).unwrap())
    }
    fn check(kinds: [TypeKind; 2], values: [Value; 2], rows: usize, expected_type: &str, expected: &str) {
        let (kind, got) = run(FUNCTIONS, "MOD", kinds.into_iter().map(col).collect(), &values, rows).unwrap();
        assert_eq!((kind.to_string().as_str(), show(&got).as_str()), (expected_type, expected));
    }

    #[test]
    fn types_and_signs_are_flinks() {
        let longs: ArrayRef = Arc::new(Int64Array::from(vec![Some(9_007_199_254_740_993), None, Some(-7)]));
        let three = || Value::Scalar(Arc::new(Int32Array::from(vec![3])) as ArrayRef);
        let kinds = [TypeKind::BigInt, TypeKind::Int];
        check(kinds, [Value::Array(longs), three()], 3, "INT", "0 | null | -1");
        let decs = || Value::Array(dec(12, 2, &[-9_999_999_999, 123]));
        check([DEC, TypeKind::Int], [decs(), three()], 2, "DECIMAL(12, 2)", "-0.99 | 1.23");
        let one_and_a_half = Value::Scalar(dec(2, 1, &[15]));
        let kinds = [DEC, TypeKind::Decimal { precision: 2, scale: 1 }];
        check(kinds, [decs(), one_and_a_half], 2, "DECIMAL(3, 2)", "-0.99 | 1.23");
        check([TypeKind::Int, DEC], [three(), decs()], 2, "DECIMAL(12, 2)", "3.00 | 0.54");
    }

    #[test]
    fn the_smallest_integer_by_minus_one_is_zero() {
        let ints: ArrayRef = Arc::new(Int32Array::from(vec![i32::MIN]));
        let minus_one: ArrayRef = Arc::new(Int32Array::from(vec![-1]));
        check([TypeKind::Int, TypeKind::Int], [Value::Array(ints), Value::Scalar(minus_one)], 1, "INT", "0");
    }

    #[test]
    fn scaling_up_may_not_fit() {
        let large = 10_i128.pow(37);
        assert_eq!(remainder(large + 7, 1000, 13, 1).unwrap(), (large % 13 + 7) * 1000 % 13);
        assert_eq!(remainder(7, 1, large, 1000).unwrap(), 7);
        assert_eq!(remainder(-7, 10, 3, 1).unwrap(), -1);
    }

    #[test]
    fn batches_without_rows_are_computed() {
        let none: ArrayRef = Arc::new(Int32Array::from(Vec::<i32>::new()));
        check([TypeKind::Int, TypeKind::Int], [Value::Array(none.clone()), Value::Array(none)], 0, "INT", "");
    }

    #[test]
    fn zero_is_an_error_only_where_a_row_meets_it() {
        let ints = |v: Vec<Option<i32>>| Arc::new(Int32Array::from(v)) as ArrayRef;
        let zero = Value::Scalar(ints(vec![Some(0)]));
        let args = || vec![col(TypeKind::Int), int(0)];
        let error = run(FUNCTIONS, "MOD", args(), &[Value::Array(ints(vec![Some(1)])), zero.clone()], 1).unwrap_err();
        assert_eq!(error.code, "division_by_zero");
        let (_, got) = run(FUNCTIONS, "MOD", args(), &[Value::Array(ints(vec![None])), zero], 1).unwrap();
        assert_eq!(show(&got), "null");
    }
}
