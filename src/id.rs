//! Identifiers: 128 bits, written as 32 lower-case hexadecimal digits without dashes, as Flink's clients expect.

use std::fmt;
use std::str::FromStr;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u128);

        impl $name {
            /// A new id; ids made later sort later (UUID version 7).
            pub fn generate() -> Self {
                #[expect(clippy::disallowed_methods, reason = "this is the one place")]
                let id = uuid::Uuid::now_v7();
                Self(id.as_u128())
            }
            /// An id derived from text: the same text gives the same id.
            pub fn from_text(text: &str) -> Self {
                Self(xxhash_rust::xxh3::xxh3_128(text.as_bytes()))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }
        impl FromStr for $name {
            type Err = crate::error::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let is_hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
                match u128::from_str_radix(text, 16) {
                    Ok(value) if is_hex => Ok(Self(value)),
                    _ => Err(crate::error::Error::invalid("invalid_id", format!("'{text}' is not an id: expected 32 lower-case hexadecimal digits"))),
                }
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id_type!(
    /// One submitted job.
    JobId
);
id_type!(
    /// One checkpoint or savepoint, of any job.
    SnapshotId
);
id_type!(
    /// One operator of a job's plan; kept across restarts and, where the plan's structure allows, across changed SQL.
    OperatorId
);
id_type!(
    /// One long action of the service, such as an fsck or a drill.
    ActionId
);
id_type!(
    /// One upgrade of a job.
    UpgradeId
);
id_type!(
    /// One export, import or verification of a savepoint.
    OperationId
);
id_type!(
    /// One running service process's identity: kept in its data directory, so that a restart is the same instance.
    InstanceId
);

/// A random number in -1..=1, for jitter.
pub fn random_jitter() -> f64 {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let bits = uuid::Uuid::new_v4().as_u128() as u32;
    f64::from(bits) / f64::from(u32::MAX) * 2.0 - 1.0
}
