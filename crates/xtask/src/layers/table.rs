//! The layers and the owners, as data.
//!
//! The architecture in a form that a test can hold; ARCHITECTURE.md tells it in words. Comparing manifests with it is
//! left to `rules`.

/// The unpublished figures: they may name heavy dependencies, to measure us against them.
pub const BENCH: &str = "flowstone-bench";

/// A package of ours and those of ours that it may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Layer {
    /// Relative to the workspace; empty for its root.
    pub folder: &'static str,
    /// The name of the package.
    pub package: &'static str,
    /// Its dev-dependencies may be [`TEST_ONLY`] as well.
    pub may_depend_on: &'static [&'static str],
}

/// Heavy dependencies and the only packages that may name them.
#[derive(Debug, Clone, Copy)]
pub struct Ownership {
    /// Names of packages; a trailing `*` stands for any ending.
    pub packages: &'static [&'static str],
    /// Who may depend on them, in any way.
    pub owners: &'static [&'static str],
    /// Where the reason is written down.
    pub reason: &'static str,
}

/// The layers, lowest first. Nothing points upward or sideways.
pub const LAYERS: &[Layer] = &[
    Layer {
        folder: "crates/core",
        package: "flowstone-core",
        may_depend_on: &[],
    },
    Layer {
        folder: "crates/macros",
        package: "flowstone-macros",
        may_depend_on: &[],
    },
    Layer {
        folder: "crates/runtime",
        package: "flowstone-runtime",
        may_depend_on: &["flowstone-core"],
    },
    Layer {
        folder: "crates/store",
        package: "flowstone-store",
        may_depend_on: &["flowstone-core"],
    },
    Layer {
        folder: "crates/io-object",
        package: "flowstone-io-object",
        may_depend_on: &["flowstone-core"],
    },
    Layer {
        folder: "crates/io-s3",
        package: "flowstone-io-s3",
        may_depend_on: &["flowstone-core", "flowstone-io-object"],
    },
    Layer {
        folder: "crates/io-parquet",
        package: "flowstone-io-parquet",
        may_depend_on: &["flowstone-core", "flowstone-io-object"],
    },
    Layer {
        folder: "crates/readers",
        package: "flowstone-readers",
        may_depend_on: &["flowstone-core"],
    },
    Layer {
        folder: "crates/scatter",
        package: "flowstone-scatter",
        may_depend_on: &["flowstone-core"],
    },
    Layer {
        folder: "crates/parallel",
        package: "flowstone-parallel",
        may_depend_on: &["flowstone-core"],
    },
    Layer {
        folder: "crates/lineage",
        package: "flowstone-lineage",
        may_depend_on: &["flowstone-core"],
    },
    Layer {
        folder: "crates/server",
        package: "flowstone-server",
        may_depend_on: &["flowstone-core", "flowstone-runtime", "flowstone-lineage"],
    },
    Layer {
        folder: "crates/cli",
        package: "flowstone-cli",
        may_depend_on: BELOW_CLI,
    },
    Layer {
        folder: "crates/testkit",
        package: "flowstone-testkit",
        may_depend_on: &["flowstone-core", "flowstone-runtime"],
    },
    Layer {
        folder: "",
        package: "flowstone",
        may_depend_on: BELOW_FACADE,
    },
    Layer {
        folder: "bench",
        package: BENCH,
        may_depend_on: BELOW_BENCH,
    },
    Layer {
        folder: "fuzz",
        package: "flowstone-fuzz",
        may_depend_on: &[
            "flowstone",
            "flowstone-core",
            "flowstone-io-parquet",
            "flowstone-readers",
            "flowstone-testkit",
        ],
    },
    Layer {
        folder: "crates/xtask",
        package: "xtask",
        may_depend_on: &[],
    },
];

/// What a dev-dependency may name beside what its package may depend on.
pub const TEST_ONLY: &[&str] = &["flowstone-core", "flowstone-testkit"];

/// What the tests of one package may name besides, so that what it offers is tried on the real thing. Nothing of it is
/// published with the package.
pub(super) const TRIED_WITH: &[(&str, &[&str])] = &[
    ("flowstone-macros", &["flowstone-scatter"]),
    ("flowstone-scatter", &["flowstone-macros"]),
    ("flowstone-testkit", &["flowstone-store"]),
];

/// Who alone knows which heavy dependency. [`BENCH`] is exempt: it measures us against the bare crates.
pub const OWNERSHIPS: &[Ownership] = &[
    Ownership {
        packages: &["ractor", "ractor_cluster"],
        owners: &["flowstone-runtime"],
        reason: "docs/adr/0001-ractor-in-the-runtime.md",
    },
    Ownership {
        packages: &["sqlx", "sqlx-*", "rusqlite", "libsqlite3-sys"],
        owners: &["flowstone-store", "flowstone-readers"],
        reason: "docs/adr/0003-sqlite-through-sqlx.md",
    },
    Ownership {
        packages: &["object_store"],
        owners: &[
            "flowstone-io-object",
            "flowstone-io-s3",
            "flowstone-io-parquet",
            "flowstone-readers",
        ],
        reason: "docs/adr/0004-object-store-for-values.md",
    },
    Ownership {
        packages: &["arrow", "arrow-*", "parquet", "serde_arrow"],
        owners: &["flowstone-io-parquet", "flowstone-readers"],
        reason: "docs/adr/0030-readers-know-arrow-and-sqlx-by-feature.md",
    },
    Ownership {
        packages: &["bincode", "postcard"],
        owners: &["flowstone-core"],
        reason: "docs/adr/0006-bincode-behind-codec.md",
    },
    Ownership {
        packages: &["croner"],
        owners: &["flowstone-core"],
        reason: "docs/adr/0017-cron-shaped-windows-are-counted.md",
    },
    Ownership {
        packages: &["clap", "clap_*", "indicatif", "comfy-table"],
        owners: &["flowstone-cli"],
        reason: "docs/adr/0010-clap-indicatif-comfy-table.md",
    },
    Ownership {
        packages: &["axum", "axum-*"],
        owners: &["flowstone-server"],
        reason: "ARCHITECTURE.md",
    },
];

const BELOW_CLI: &[&str] = &[
    "flowstone-core",
    "flowstone-macros",
    "flowstone-runtime",
    "flowstone-store",
    "flowstone-io-object",
    "flowstone-io-s3",
    "flowstone-io-parquet",
    "flowstone-readers",
    "flowstone-scatter",
    "flowstone-parallel",
    "flowstone-lineage",
    "flowstone-server",
];

const BELOW_FACADE: &[&str] = &[
    "flowstone-core",
    "flowstone-macros",
    "flowstone-runtime",
    "flowstone-store",
    "flowstone-io-object",
    "flowstone-io-s3",
    "flowstone-io-parquet",
    "flowstone-readers",
    "flowstone-scatter",
    "flowstone-parallel",
    "flowstone-lineage",
    "flowstone-server",
    "flowstone-cli",
    "flowstone-testkit",
];

const BELOW_BENCH: &[&str] = &[
    "flowstone",
    "flowstone-core",
    "flowstone-runtime",
    "flowstone-store",
    "flowstone-io-object",
    "flowstone-io-parquet",
    "flowstone-readers",
    "flowstone-scatter",
    "flowstone-parallel",
    "flowstone-lineage",
    "flowstone-testkit",
];
