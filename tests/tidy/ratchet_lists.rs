//! Lists the places that break a rule today and may stay until somebody mends them. Numbers only go down and lines only go
//! away: when a rule complains that a line is not needed any more, delete it. Nothing may be added. When a listed file or
//! name is renamed, rename it here.

use crate::ratchet::List;

/// The file may be in any state until it keeps the rule.
const ANY: usize = usize::MAX;

/// Path and lines of files beyond their length.
pub const LONG_FILES: List = List {
    name: "LONG_FILES",
    #[rustfmt::skip]
    entries: &[
    ],
};

/// Name and lines of functions beyond their length.
pub const LONG_FUNCTIONS: List = List { name: "LONG_FUNCTIONS", entries: &[] };

/// Name and count of functions with more parameters than allowed.
pub const MANY_PARAMETERS: List = List {
    name: "MANY_PARAMETERS",
    #[rustfmt::skip]
    entries: &[
        ("refuse", 6),
    ],
};

/// Name of functions that take tuples apart in their parameters, and how many tuples.
pub const TUPLE_PARAMETERS: List = List {
    name: "TUPLE_PARAMETERS",
    #[rustfmt::skip]
    entries: &[
        ("of_attempt", 1),
    ],
};

/// Top folders with import rings, and the number of files in their rings.
pub const RINGS: List = List {
    name: "RINGS",
    #[rustfmt::skip]
    entries: &[
        ("src/cache", 6),
        ("src/plan", 4),
        ("src/policy", 4),
    ],
};

/// Files whose `mod` lines are out of order or out of shape, and the number of complaints.
pub const MODULE_LISTS: List = List {
    name: "MODULE_LISTS",
    #[rustfmt::skip]
    entries: &[
        ("src/cache/mod.rs", ANY),
        ("src/policy/mod.rs", ANY),
    ],
};

/// Names of public types that occur more than once, and how often.
pub const TYPE_NAMES: List = List {
    name: "TYPE_NAMES",
    #[rustfmt::skip]
    entries: &[
        ("Labels", 2),
        ("Store", 2),
    ],
};

/// Files outside `src/dialect` that name a vendor's fields, and how often.
pub const VENDOR_FIELDS: List = List { name: "VENDOR_FIELDS", entries: &[] };

/// Files of the shard's lower storeys that name `Shard` or `Conn`, and how often.
pub const UPPER_STOREYS: List = List {
    name: "UPPER_STOREYS",
    #[rustfmt::skip]
    entries: &[
    ],
};
