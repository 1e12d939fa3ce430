//! Functions of the chapter "hash": digests as lower-case hex text.
//!
//! Source: Flink's "System (Built-in) Functions", hash functions. `SHA2` takes 224, 256, 384 or 512.

use arrow::array::StringBuilder;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::arguments::{Want, function, put, signature, text_rows};
use crate::error::{Error, Result};
use crate::expr::function::{Function, Kernel};
use crate::expr::{Expr, Scalar};
use crate::types::{DataType, TypeKind};

pub(super) static FUNCTIONS: &[Function] = &[
    function("MD5", |a| digest_type(a, "MD5(string)", 32), |_| Ok(digest_kernel::<Md5>())),
    function("SHA1", |a| digest_type(a, "SHA1(string)", 40), |_| Ok(digest_kernel::<Sha1>())),
    function("SHA224", |a| digest_type(a, "SHA224(string)", 56), |_| Ok(digest_kernel::<Sha224>())),
    function("SHA256", |a| digest_type(a, "SHA256(string)", 64), |_| Ok(digest_kernel::<Sha256>())),
    function("SHA384", |a| digest_type(a, "SHA384(string)", 96), |_| Ok(digest_kernel::<Sha384>())),
    function("SHA512", |a| digest_type(a, "SHA512(string)", 128), |_| Ok(digest_kernel::<Sha512>())),
    function(
        "SHA2",
        |a| sha2_type(a),
        |_| {
            Ok(text_rows(|row, out| {
                let text = row.str(0).as_bytes();
                match row.int(1) {
                    Some(224) => put_digest::<Sha224>(text, out),
                    Some(256) => put_digest::<Sha256>(text, out),
                    Some(384) => put_digest::<Sha384>(text, out),
                    Some(512) => put_digest::<Sha512>(text, out),
                    other => return Err(bad_length(other)),
                }
                Ok(true)
            }))
        },
    ),
];

fn digest_type(args: &[Expr], usage: &str, length: u32) -> Result<DataType> {
    let nullable = signature(args, usage, &[Want::Text], &[])?;
    Ok(DataType { kind: TypeKind::Char(length), nullable })
}

fn sha2_type(args: &[Expr]) -> Result<DataType> {
    let nullable = signature(args, "SHA2(string, 224 | 256 | 384 | 512)", &[Want::Text, Want::Int], &[])?;
    if let Some(Expr::Literal { value: Scalar::Int(length), .. }) = args.get(1)
        && ![224, 256, 384, 512].contains(length)
    {
        return Err(bad_length(Some(*length)));
    }
    Ok(DataType { kind: TypeKind::VarChar(128), nullable })
}

fn bad_length(length: Option<i64>) -> Error {
    let length = length.map_or("null".to_owned(), |l| l.to_string());
    Error::invalid("invalid_argument", format!("SHA2 has no digest of {length} bits: give 224, 256, 384 or 512"))
}

fn digest_kernel<D: Digest>() -> Kernel {
    text_rows(|row, out| {
        put_digest::<D>(row.str(0).as_bytes(), out);
        Ok(true)
    })
}

fn put_digest<D: Digest>(input: &[u8], out: &mut StringBuilder) {
    // The longest digest is 64 bytes.
    let mut text = [0u8; 128];
    let digest = D::digest(input);
    let text = &mut text[..digest.len() * 2];
    hex::encode_to_slice(&digest, text).expect("the buffer is twice as long as the digest");
    put(out, std::str::from_utf8(text).expect("hex digits are ASCII"));
}

#[cfg(test)]
mod tests {
    use super::super::arguments::testing::{check, code, lit, null, num};
    use super::FUNCTIONS;

    #[test]
    fn digests_are_hex_text_of_fixed_length() {
        let hello = [
            ("MD5", "5d41402abc4b2a76b9719d911017c592", 32),
            ("SHA1", "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", 40),
            ("SHA256", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", 64),
        ];
        for (name, expected, length) in hello {
            check(FUNCTIONS, name, vec![lit("hello")], expected, &format!("CHAR({length}) NOT NULL"));
            check(FUNCTIONS, name, vec![null()], "NULL", &format!("CHAR({length})"));
        }
        check(
            FUNCTIONS,
            "SHA224",
            vec![lit("[1,2,3]")],
            "f6bc357807106561d8f739eafea32e3d9c7352493493bac8084123bc",
            "CHAR(56) NOT NULL",
        );
        check(
            FUNCTIONS,
            "SHA2",
            vec![lit("a"), num(384)],
            "54a59b9f22b0b80880d8427e548b7c23abd873486e1f035dce9cd697e85175033caa88e6d57bc35efae0b5afd3145f31",
            "VARCHAR(128) NOT NULL",
        );
        assert_eq!(code(FUNCTIONS, "SHA2", vec![lit("a"), num(7)]), "invalid_argument");
        assert_eq!(code(FUNCTIONS, "MD5", vec![num(7)]), "invalid_argument");
    }
}
