//! IPv4 addresses as numbers.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::Int64Builder;

use super::super::arguments::{Arguments, Want, function, signature, string, text_rows};
use crate::expr::function::Function;
use crate::types::{DataType, TypeKind};

/// One to four parts of 0 to 255; with fewer than four, the last one is the lowest byte. Null for anything else.
pub(super) const INET_ATON: Function = function(
    "INET_ATON",
    |a| signature(a, "INET_ATON(string)", &[Want::Text], &[]).map(|_| DataType::nullable(TypeKind::BigInt)),
    |_| {
        Ok(Box::new(|values, rows| {
            let arguments = Arguments::new(values, rows)?;
            let mut out = Int64Builder::with_capacity(arguments.rows());
            for row in 0..arguments.rows() {
                out.append_option(arguments.row(row).text(0).and_then(to_number));
            }
            Ok(arguments.answer(Arc::new(out.finish())))
        }))
    },
);
pub(super) const INET_NTOA: Function = function(
    "INET_NTOA",
    |a| signature(a, "INET_NTOA(integer)", &[Want::Int], &[]).map(|_| string(true)),
    |_| {
        Ok(text_rows(|row, out| {
            let Some(address) = row.int(0).and_then(|n| u32::try_from(n).ok()) else { return Ok(false) };
            write!(out, "{}", std::net::Ipv4Addr::from(address)).expect("a string builder accepts every write");
            Ok(true)
        }))
    },
);

fn to_number(text: &str) -> Option<i64> {
    let mut address = 0;
    let count = text.split('.').count();
    for (i, part) in text.split('.').enumerate() {
        let digits = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        let byte: u8 = part.parse().ok().filter(|_| digits)?;
        let place = if i + 1 == count { 3 } else { i };
        address |= i64::from(byte) << (8 * 3_usize.checked_sub(place)?);
    }
    (count <= 4).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::super::super::arguments::testing::{check, lit, num};
    use super::super::FUNCTIONS;

    #[test]
    fn addresses_are_numbers() {
        let cases = [
            ("127.0.0.1", "2130706433"),
            ("127.1", "2130706433"),
            ("1.2.3", "16908291"),
            ("12", "12"),
            ("01.2.3.4", "16909060"),
            ("256.1.1.1", "NULL"),
            ("1.256", "NULL"),
            ("1.2.3.4.5", "NULL"),
            (" 1.2.3.4", "NULL"),
            ("1..2", "NULL"),
            ("", "NULL"),
        ];
        for (text, expected) in cases {
            check(FUNCTIONS, "INET_ATON", vec![lit(text)], expected, "BIGINT");
        }
        for (number, expected) in [(7, "0.0.0.7"), (0, "0.0.0.0"), (-1, "NULL")] {
            check(FUNCTIONS, "INET_NTOA", vec![num(number)], expected, "STRING");
        }
    }
}
