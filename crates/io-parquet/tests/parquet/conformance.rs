//! Parquet files keep the promises of an IO manager, on disk and in memory.

use flowstone_core::io::{IoEnv, IoFactory};
use flowstone_io_parquet::Parquet;
use flowstone_testkit::io::IoUnderTest;

mod on_disk {
    use super::*;

    flowstone_testkit::io_conformance!({
        let folder = tempfile::tempdir().expect("a folder");
        let env = IoEnv {
            data_dir: Some(folder.path().to_owned()),
        };
        IoUnderTest::shared(Parquet::default().open(&env).expect("it opens")).keeping(folder)
    });
}

mod in_memory {
    use super::*;

    flowstone_testkit::io_conformance!(IoUnderTest::shared(
        Parquet::default().open(&IoEnv { data_dir: None }).expect("it opens")
    ));
}
