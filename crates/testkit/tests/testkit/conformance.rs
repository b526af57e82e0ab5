//! The suites, adopted by the reference implementations.

mod memory_store {
    use flowstone_core::memory::MemoryStore;
    use flowstone_testkit::store::StoreUnderTest;

    flowstone_testkit::store_conformance!(StoreUnderTest::new(MemoryStore::default()));
}

mod memory_io {
    use flowstone_core::memory::MemoryIo;
    use flowstone_testkit::io::IoUnderTest;

    flowstone_testkit::io_conformance!(IoUnderTest::new(MemoryIo::default()));
}
