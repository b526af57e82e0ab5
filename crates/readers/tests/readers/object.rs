//! What a listing of objects gives, whatever order the store has.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use flowstone_core::ErrorKind;
use flowstone_core::reader::{Cursor, ItemSource};
use flowstone_readers::{ObjectInfo, Objects};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use proptest::prelude::*;

use crate::support::{disk, keys, read_all, store};

#[tokio::test]
async fn an_object_is_told_with_its_size_and_version() {
    let objects = store([("raw/a.csv", "1234"), ("raw/b.txt", ""), ("rawest/c.csv", "x")]).await;
    let found = objects.head(&"raw/a.csv".into()).await.unwrap();

    let items = read_all(&Objects::under(objects, "raw").ending(".csv"), 10)
        .await
        .unwrap();

    assert_eq!(keys(&items), ["raw/a.csv"]);
    assert_eq!(
        items[0].read::<ObjectInfo>().unwrap(),
        ObjectInfo {
            path: "raw/a.csv".to_owned(),
            size: 4,
            etag: found.e_tag,
            modified: found.last_modified.to_rfc3339(),
        }
    );
}

#[tokio::test]
async fn a_prefix_below_which_nothing_lies_has_no_items() {
    let in_memory = store([("a", "x")]).await;
    let (_folder, on_disk) = disk(&["a"]).await;

    for objects in [in_memory, on_disk] {
        assert!(read_all(&Objects::under(objects, "b"), 10).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_is_added_behind_the_cursor_is_listed_and_what_is_added_before_is_not() {
    let objects = store([("b", "x"), ("d", "x")]).await;
    let (_folder, on_disk) = disk(&["b", "d"]).await;

    for objects in [objects, on_disk] {
        let source = Objects::under(Arc::clone(&objects), "");
        let cursor = source.open().await.unwrap().read(None, 1).await.unwrap().next;
        for path in ["a", "c/c"] {
            objects.put(&path.into(), "x".into()).await.unwrap();
        }

        let rest = source.open().await.unwrap().read(cursor.as_ref(), 10).await.unwrap();

        assert_eq!(keys(&rest.items), ["c/c", "d"]);
    }
}

#[tokio::test]
async fn a_page_without_any_object_that_is_wanted_goes_on() {
    let paths: Vec<String> = (0..12_000).map(|number| format!("{number:05}.txt")).collect();
    let objects = paths.iter().map(|path| (path.as_str(), "")).chain([("z.csv", "")]);
    let source = Objects::under(store(objects).await, "").ending(".csv");
    let mut reader = source.open().await.unwrap();

    let first = reader.read(None, 10).await.unwrap();
    let second = reader.read(first.next.as_ref(), 10).await.unwrap();

    assert!(first.items.is_empty() && first.next.is_some());
    assert_eq!((keys(&second.items), second.next), (vec!["z.csv"], None));
}

#[tokio::test]
async fn a_store_that_lists_out_of_order_is_noticed_and_can_be_read_by_folder() {
    let backwards: Arc<dyn ObjectStore> = Arc::new(Backwards(store([("a", "x"), ("b/c", "x"), ("d", "x")]).await));

    let refused = read_all(&Objects::under(Arc::clone(&backwards), ""), 1)
        .await
        .unwrap_err();
    let items = read_all(&Objects::under(backwards, "").by_folder(), 1).await.unwrap();

    assert_eq!(
        (refused.kind(), refused.stable_code()),
        (ErrorKind::Unsupported, "listing_unordered")
    );
    assert!(refused.advice().unwrap().contains("by_folder"));
    assert_eq!(keys(&items), ["a", "b/c", "d"]);
}

#[tokio::test]
async fn a_damaged_cursor_is_refused() {
    let source = Objects::under(store([("a", "x")]).await, "");
    let damaged = Cursor {
        version: 1,
        position: b"o\xff".to_vec(),
    };

    let refused = source.open().await.unwrap().read(Some(&damaged), 1).await.unwrap_err();

    assert_eq!(
        (refused.kind(), refused.stable_code()),
        (ErrorKind::Corrupt, "cursor_corrupt")
    );
}

proptest! {
    /// By folder, everything is listed in the order of paths, from any page on.
    #[test]
    fn folders_are_listed_in_the_order_of_paths(
        paths in prop::collection::btree_set("[ab.0]{1,2}(/[ab.0]{1,2}){0,2}", 1..12),
        items_max in 1_usize..4,
    ) {
        // In an object store a path may be both an object and a folder.
        let paths: Vec<String> = paths.into_iter().filter(|path| Path::parse(path).is_ok()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

        let listed = runtime.block_on(async {
            let objects = store(paths.iter().map(|path| (path.as_str(), "x"))).await;
            let source = Objects::under(objects, "").by_folder();
            let (mut listed, mut cursor) = (Vec::new(), None);
            loop {
                let page = source.open().await.unwrap().read(cursor.as_ref(), items_max).await.unwrap();
                listed.extend(page.items.into_iter().map(|item| item.key));
                cursor = page.next;
                if cursor.is_none() {
                    return listed;
                }
            }
        });

        prop_assert_eq!(listed, paths);
    }
}

/// A store that lists from the end.
#[derive(Debug)]
struct Backwards(Arc<dyn ObjectStore>);

impl fmt::Display for Backwards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backwards")
    }
}

#[async_trait]
impl ObjectStore for Backwards {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.0.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.0.list(prefix).collect::<Vec<_>>();
        stream::once(listed)
            .flat_map(|listed| stream::iter(listed.into_iter().rev()))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.0.list_with_delimiter(prefix).await?;
        listed.objects.reverse();
        listed.common_prefixes.reverse();
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}
