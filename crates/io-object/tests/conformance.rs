//! Objects keep the promises of an IO manager, on disk and in memory, with each codec.

use flowstone_core::io::{IoEnv, IoFactory};
use flowstone_io_object::Object;
use flowstone_testkit::io::IoUnderTest;

/// A manager over an empty folder.
fn on_disk(object: &Object) -> IoUnderTest {
    let folder = tempfile::tempdir().expect("a folder");
    let io = object
        .open(&IoEnv {
            data_dir: Some(folder.path().to_owned()),
        })
        .expect("it opens");
    IoUnderTest::shared(io).keeping(folder)
}

mod embedded {
    flowstone_testkit::io_conformance!(super::on_disk(&super::Object::embedded()));
}

mod never_inline {
    flowstone_testkit::io_conformance!(super::on_disk(&super::Object::embedded().never_inline()));
}

mod bincode {
    flowstone_testkit::io_conformance!(super::on_disk(&super::Object::bincode()));
}

mod json_lines {
    flowstone_testkit::io_conformance!(super::on_disk(&super::Object::json_lines()));
}

mod in_memory {
    use super::*;

    flowstone_testkit::io_conformance!(IoUnderTest::shared(
        Object::postcard().open(&IoEnv { data_dir: None }).expect("it opens")
    ));
}
