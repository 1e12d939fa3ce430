//! `RAND` and `RAND_INTEGER`, with the sequence of `java.util.Random` for a given seed.
//!
//! A literal seed seeds one generator per call in the query, which then gives one number per row; a seed from a column
//! gives each row the first number of its seed. Source: Flink's `RandCallGen`.

use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, Float64Array, Int32Array};

use super::super::kernels::{any_nullable, arity, casts_implicitly, coerce, column, not_applicable};
use crate::error::{Error, Result};
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::expr::{Expr, Scalar};
use crate::types::{DataType, TypeKind};

pub(super) const RAND: Function = Function {
    name: "RAND",
    bind: |args| bind("RAND", args, 0, TypeKind::Double),
    prepare: prepare_rand,
    deterministic: false,
};
pub(super) const RAND_INTEGER: Function = Function {
    name: "RAND_INTEGER",
    bind: |args| bind("RAND_INTEGER", args, 1, TypeKind::Int),
    prepare: prepare_rand_integer,
    deterministic: false,
};

fn bind(name: &str, args: &mut [Expr], bounds: usize, result: TypeKind) -> Result<DataType> {
    let takes = if bounds == 0 { "at most an INT seed" } else { "an INT bound, and before it at most an INT seed" };
    arity(name, takes, args, bounds..=bounds + 1)?;
    if !args.iter().all(|a| casts_implicitly(&a.data_type().kind, &TypeKind::Int)) {
        return Err(not_applicable(name, takes, args));
    }
    for index in 0..args.len() {
        coerce(args, index, &TypeKind::Int)?;
    }
    Ok(DataType { kind: result, nullable: any_nullable(args) })
}

/// The linear congruential generator that the documentation of `java.util.Random` prescribes.
struct JavaRandom {
    state: u64,
}

impl JavaRandom {
    fn new(seed: i64) -> Self {
        JavaRandom { state: (seed.cast_unsigned() ^ 0x5_DEEC_E66D) & ((1 << 48) - 1) }
    }
    /// Seeded differently on each call.
    fn unseeded() -> Self {
        Self::new(std::hash::RandomState::new().build_hasher().finish().cast_signed())
    }
    fn next(&mut self, bits: u32) -> i32 {
        self.state = self.state.wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB) & ((1 << 48) - 1);
        ((self.state >> (48 - bits)) as u32).cast_signed()
    }
    fn next_double(&mut self) -> f64 {
        let high = i64::from(self.next(26)) << 27;
        let sum = high + i64::from(self.next(27));
        // At most 53 bits: exact.
        sum as f64 / (1_i64 << 53) as f64
    }
    /// Uniform in `0..bound`.
    fn next_int(&mut self, bound: i32) -> Result<i32> {
        if bound <= 0 {
            return Err(Error::invalid("invalid_argument", "the bound of RAND_INTEGER must be positive"));
        }
        let mut bits = self.next(31);
        if bound & (bound - 1) == 0 {
            return Ok(((i64::from(bound) * i64::from(bits)) >> 31) as i32);
        }
        loop {
            let value = bits % bound;
            if bits.wrapping_sub(value).wrapping_add(bound - 1) >= 0 {
                return Ok(value);
            }
            bits = self.next(31);
        }
    }
}

/// The generator of a call: of its own (one number per row), or one per row from the seed in argument 0.
enum Source {
    /// A `std` mutex held for one batch: kernels are shared, but one subtask runs one at a time.
    Shared(Mutex<JavaRandom>),
    PerRow,
}

impl Source {
    fn new(seed: Option<&Expr>) -> Self {
        match seed {
            None => Source::Shared(Mutex::new(JavaRandom::unseeded())),
            Some(Expr::Literal { value: Scalar::Int(seed), .. }) => Source::Shared(Mutex::new(JavaRandom::new(*seed))),
            Some(_) => Source::PerRow,
        }
    }
    fn draw<T>(
        &self,
        args: &[Value],
        rows: usize,
        mut f: impl FnMut(&mut JavaRandom, usize) -> Result<Option<T>>,
    ) -> Result<Vec<Option<T>>> {
        match self {
            Source::Shared(random) => {
                let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
                (0..rows).map(|row| f(&mut random, row)).collect()
            }
            Source::PerRow => {
                let seeds = column::<Int32Array>(args, 0)?;
                (0..rows)
                    .map(|row| seeds.get(row).map_or(Ok(None), |seed| f(&mut JavaRandom::new(seed.into()), row)))
                    .collect()
            }
        }
    }
}

fn prepare_rand(call: &Call<'_>) -> Result<Kernel> {
    let source = Source::new(call.args.first());
    Ok(Box::new(move |args, rows| {
        let numbers = source.draw(args, rows, |random, _| Ok(Some(random.next_double())))?;
        Ok(Value::Array(Arc::new(Float64Array::from(numbers)) as ArrayRef))
    }))
}

fn prepare_rand_integer(call: &Call<'_>) -> Result<Kernel> {
    let bound_at = call.args.len().saturating_sub(1);
    let source = Source::new(if bound_at == 0 { None } else { call.args.first() });
    Ok(Box::new(move |args, rows| {
        let bounds = column::<Int32Array>(args, bound_at)?;
        let numbers =
            source.draw(args, rows, |random, row| bounds.get(row).map(|bound| random.next_int(bound)).transpose())?;
        Ok(Value::Array(Arc::new(Int32Array::from(numbers)) as ArrayRef))
    }))
}

#[cfg(test)]
mod tests {
    use super::super::FUNCTIONS;
    use super::*;
    use crate::expr::functions::kernels::testing::{col, int, run, show};

    fn scalar(value: i32) -> Value {
        Value::Scalar(Arc::new(Int32Array::from(vec![value])))
    }

    // The expected values are what Flink 2.3.0 answered.
    #[test]
    fn a_literal_seed_gives_javas_sequence() {
        let (kind, got) = run(FUNCTIONS, "RAND_INTEGER", vec![int(5), int(100)], &[scalar(5), scalar(100)], 5).unwrap();
        assert_eq!((kind.to_string().as_str(), show(&got).as_str()), ("INT NOT NULL", "87 | 92 | 74 | 24 | 6"));
        let (kind, got) = run(FUNCTIONS, "RAND", vec![int(5)], &[scalar(5)], 2).unwrap();
        assert_eq!(kind.to_string(), "DOUBLE NOT NULL");
        assert_eq!(show(&got), "0.730519863614471 | 0.08825840967622589");
    }

    #[test]
    fn a_seed_from_a_column_starts_anew_in_each_row() {
        let seeds = Value::Array(Arc::new(Int32Array::from(vec![Some(1), None, Some(6)])));
        let (kind, got) = run(FUNCTIONS, "RAND", vec![col(TypeKind::Int)], &[seeds], 3).unwrap();
        assert_eq!(kind.to_string(), "DOUBLE");
        assert_eq!(show(&got), "0.7308781907032909 | null | 0.7307886238322471");
    }

    #[test]
    fn bounds_hold_and_must_be_positive() {
        let (_, got) = run(FUNCTIONS, "RAND_INTEGER", vec![int(3)], &[scalar(3)], 1000).unwrap();
        let got: &Int32Array = got.as_any().downcast_ref().unwrap();
        assert!(got.iter().flatten().all(|n| (0..3).contains(&n)));
        assert!((0..3).all(|n| got.iter().flatten().any(|m| m == n)));
        assert_eq!(run(FUNCTIONS, "RAND_INTEGER", vec![int(0)], &[scalar(0)], 1).unwrap_err().code, "invalid_argument");
    }
}
