//! Objects in real folders: what is stored comes back, and what was damaged is refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use flowstone_core::io::{Address, INLINE_LEN_MAX, IoEnv, IoFactory, IoManager, Rows, Slot, Stored};
use flowstone_core::registry::{Plugin, Registry};
use flowstone_core::{AssetId, ErrorKind, RunId, TypeInfo, Value};
use flowstone_io_object::{Object, ObjectArea, ObjectFormats, ObjectPath};
use futures::TryStreamExt;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Station {
    name: String,
    height_m: Option<i32>,
    readings: BTreeMap<String, Vec<u16>>,
}

fn slot(partition: u64) -> Slot {
    Slot {
        asset: AssetId(7),
        partition,
        run: RunId(Uuid::from_u128(1)),
        fence: 3,
        attempt: 1,
    }
}

fn long_text() -> String {
    "a value that is too long to be kept inline; ".repeat(100)
}

fn open(object: &Object, folder: &Path) -> Arc<dyn IoManager> {
    object
        .open(&IoEnv {
            data_dir: Some(folder.to_owned()),
        })
        .unwrap()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

async fn stored_text(folder: &Path) -> (Arc<dyn IoManager>, Stored, PathBuf) {
    let manager = open(&Object::json(), folder);
    let stored = manager.store(slot(0), &Value::new(long_text())).await.unwrap();
    let file = files_below(folder).pop().unwrap();
    (manager, stored, file)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_value_comes_back_from_any_format(
        name: String,
        height_m: Option<i32>,
        readings in prop::collection::btree_map(any::<String>(), prop::collection::vec(any::<u16>(), 0..300), 0..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let station = Station { name, height_m, readings };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

        for object in [Object::json(), Object::bincode(), Object::postcard(), Object::json().never_inline()] {
            let manager = open(&object, folder.path());
            let loaded = runtime.block_on(async {
                let stored = manager.store(slot(0), &Value::new(station.clone())).await?;
                manager.load(&stored, TypeInfo::of::<Station>()).await
            });
            prop_assert_eq!(&loaded.unwrap().take::<Station>().unwrap(), &station);
        }
    }
}

#[tokio::test]
async fn a_small_value_is_kept_inline_and_a_long_one_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let manager = open(&Object::embedded(), folder.path());

    let small = manager.store(slot(0), &Value::new(7_u8)).await.unwrap();
    assert!(matches!(&small.address, Address::Inline(bytes) if bytes.len() <= INLINE_LEN_MAX));
    assert!(files_below(folder.path()).is_empty());

    let long = manager.store(slot(0), &Value::new(long_text())).await.unwrap();
    let file = files_below(folder.path()).pop().unwrap();
    assert_eq!(fs::metadata(&file).unwrap().len(), long.bytes);
    assert!(matches!(&long.address, Address::Location(path) if file.ends_with(&**path)));
}

#[tokio::test]
async fn a_value_has_one_data_version_wherever_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let value = Value::new(vec![1_u8, 2, 3]);

    let inline = open(&Object::json(), folder.path())
        .store(slot(0), &value)
        .await
        .unwrap();
    let apart = open(&Object::json().never_inline(), folder.path())
        .store(slot(5), &value)
        .await
        .unwrap();

    assert_ne!(inline.address, apart.address);
    assert_eq!(inline.data_version, apart.data_version);
    assert_eq!(inline.bytes, apart.bytes);
}

#[tokio::test]
async fn each_call_writes_to_an_address_of_its_own() {
    for area in [
        ObjectArea::in_memory(),
        ObjectArea::on_disk(tempfile::tempdir().unwrap().keep()).unwrap(),
    ] {
        let paths = futures::future::join_all((0..32).map(|call| {
            let area = area.clone();
            async move { (call, area.put(slot(0), "txt", Bytes::from(vec![call])).await.unwrap()) }
        }))
        .await;

        for (call, path) in &paths {
            assert_eq!(area.get(path).await.unwrap(), vec![*call]);
        }
        assert_eq!(area.list(AssetId(7)).try_collect::<Vec<_>>().await.unwrap().len(), 32);
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let (manager, stored, file) = stored_text(folder.path()).await;
    let whole = fs::read(&file).unwrap();

    for at in (0..whole.len()).step_by(7) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&file, &flipped).unwrap();
        let refused = manager.load(&stored, TypeInfo::of::<String>()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt);
        assert!(refused.to_string().contains(file.to_str().unwrap()));
        assert!(refused.advice().is_some());
    }
}

#[tokio::test]
async fn a_file_cut_short_anywhere_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let (manager, stored, file) = stored_text(folder.path()).await;
    let whole = fs::read(&file).unwrap();

    for len in (0..whole.len()).step_by(13) {
        fs::write(&file, &whole[..len]).unwrap();
        let refused = manager.load(&stored, TypeInfo::of::<String>()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn damage_to_an_inline_value_is_corrupt() {
    let manager = Object::json().open(&IoEnv::default()).unwrap();
    let mut stored = manager.store(slot(0), &Value::new(41_u8)).await.unwrap();
    stored.address = Address::Inline(Bytes::from_static(b"J\x0142"));

    let refused = manager.load(&stored, TypeInfo::of::<u8>()).await.unwrap_err();

    assert_eq!(refused.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_missing_file_is_not_found_and_may_be_deleted_again() {
    let folder = tempfile::tempdir().unwrap();
    let (manager, stored, file) = stored_text(folder.path()).await;

    manager.delete(&stored.address).await.unwrap();
    assert!(!file.exists());
    manager.delete(&stored.address).await.unwrap();

    let refused = manager.load(&stored, TypeInfo::of::<String>()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_address_that_leads_out_of_the_area_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), "x").unwrap();
    let (manager, mut stored, _) = stored_text(&folder.path().join("data")).await;
    stored.address = Address::Location("../secret".into());

    let refused = manager.load(&stored, TypeInfo::of::<String>()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(manager.delete(&stored.address).await.is_err());
    assert!(folder.path().join("secret").exists());
}

#[tokio::test]
async fn a_type_that_changed_is_a_mismatch_and_not_corrupt() {
    let manager = Object::json().open(&IoEnv::default()).unwrap();
    let stored = manager.store(slot(0), &Value::new("text".to_owned())).await.unwrap();

    let refused = manager.load(&stored, TypeInfo::of::<u64>()).await.unwrap_err();

    assert_eq!(refused.kind(), ErrorKind::TypeMismatch);
}

#[tokio::test]
async fn a_value_outlives_a_change_of_the_default_format() {
    let folder = tempfile::tempdir().unwrap();
    let stored = open(&Object::postcard(), folder.path())
        .store(slot(0), &Value::new(long_text()))
        .await
        .unwrap();

    let loaded = open(&Object::json(), folder.path())
        .load(&stored, TypeInfo::of::<String>())
        .await
        .unwrap();

    assert_eq!(loaded.downcast_ref::<String>(), Some(&long_text()));
}

#[tokio::test]
async fn an_object_that_is_dropped_half_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let area = ObjectArea::on_disk(folder.path()).unwrap();

    let mut staged = area.stage(slot(0), "txt").await.unwrap();
    staged.write(Bytes::from_static(b"half")).await.unwrap();
    let listed: Vec<_> = area.list(AssetId(7)).try_collect().await.unwrap();
    assert!(!listed[0].path.is_whole());
    drop(staged);

    assert!(files_below(folder.path()).is_empty());
}

#[tokio::test]
async fn an_object_in_pieces_is_whole_once_it_is_published() {
    const PIECES: usize = 40;
    for area in [
        ObjectArea::in_memory(),
        ObjectArea::on_disk(tempfile::tempdir().unwrap().keep()).unwrap(),
    ] {
        let piece = Bytes::from(vec![5; 500_000]);
        let mut staged = area.stage(slot(0), "bin").await.unwrap();
        for _ in 0..PIECES {
            staged.write(piece.clone()).await.unwrap();
        }
        let path = staged.publish().await.unwrap();

        let listed: Vec<_> = area.list(AssetId(7)).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].path, path);
        assert_eq!(listed[0].bytes, (piece.len() * PIECES) as u64);
        assert_eq!(area.get_range(&path, 499_999..500_003).await.unwrap(), vec![5; 4]);
        let behind = area.get_range(&path, 19_999_999..20_000_001).await.unwrap_err();
        assert_eq!(behind.kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn what_a_dead_process_left_is_listed_and_does_not_block_the_next_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let area = ObjectArea::on_disk(folder.path()).unwrap();
    let path = area.put(slot(0), "txt", Bytes::from_static(b"x")).await.unwrap();
    fs::rename(area.locate(&path), format!("{}.part", area.locate(&path))).unwrap();
    fs::write(folder.path().join("v1/00000007/0/notes.txt"), "somebody else's").unwrap();

    let next = ObjectArea::on_disk(folder.path())
        .unwrap()
        .put(slot(0), "txt", Bytes::from_static(b"y"))
        .await;

    assert_ne!(next.unwrap(), path);
    let mut listed: Vec<_> = area.list(AssetId(7)).try_collect().await.unwrap();
    listed.sort_by_key(|object| object.path.is_whole());
    assert_eq!(listed.len(), 2);
    assert!(!listed[0].path.is_whole());
    area.delete(&listed[0].path).await.unwrap();
    assert_eq!(area.list(AssetId(7)).try_collect::<Vec<_>>().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_folder_that_was_removed_meanwhile_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let area = ObjectArea::on_disk(folder.path()).unwrap();
    area.put(slot(0), "txt", Bytes::from_static(b"x")).await.unwrap();
    fs::remove_dir_all(folder.path().join("v1")).unwrap();

    let path = area.put(slot(0), "txt", Bytes::from_static(b"y")).await.unwrap();

    assert_eq!(area.get(&path).await.unwrap(), "y");
}

#[test]
fn a_file_where_the_data_folder_should_be_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    fs::write(&file, "x").unwrap();

    let refused = ObjectArea::on_disk(&file).unwrap_err();

    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.to_string().contains(file.to_str().unwrap()));
    assert!(refused.advice().is_some());
}

#[test]
fn the_formats_register_under_their_names() {
    let mut registry = Registry::default();

    Box::new(ObjectFormats).register(&mut registry).unwrap();
    Box::new(Object::json().named("notes")).register(&mut registry).unwrap();

    assert_eq!(
        registry.io_names().collect::<Vec<_>>(),
        ["bincode", "json", "jsonl", "notes", "object", "postcard"]
    );
    assert_eq!(
        Box::new(Object::json()).register(&mut registry).unwrap_err().kind(),
        ErrorKind::Conflict
    );
}

#[tokio::test]
async fn json_lines_are_a_plain_file() {
    let folder = tempfile::tempdir().unwrap();
    let rows = vec![(1_u64, "a".to_owned()), (2, "b".to_owned())];
    let value = Value::new(rows.clone());
    let lines = open(&Object::json_lines(), folder.path());
    let stored = lines.store(slot(1), &value).await.unwrap();

    let place = stored.address.place().unwrap();
    assert!(place.ends_with(".jsonl"), "{place}");
    let text = fs::read_to_string(folder.path().join(place)).unwrap();
    assert_eq!(text, "[1,\"a\"]\n[2,\"b\"]\n");
    assert_eq!(stored.bytes, text.len() as u64);
    // Whoever is asked for it later reads it all the same.
    let json = open(&Object::json(), folder.path());
    let loaded = json.load(&stored, value.ty()).await.unwrap();
    assert_eq!(loaded.downcast_ref(), Some(&rows));
}

#[tokio::test]
async fn rows_that_come_in_parts_never_lie_in_memory_as_a_whole() {
    const ROWS: u64 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    // Each part is made when the one before it is written; a manager that gathers them would ask for all first.
    let alive = Arc::new(());
    let most = Arc::new(AtomicUsize::new(0));
    let (held, seen) = (Arc::clone(&alive), Arc::clone(&most));
    let parts = (0..ROWS / 100).map(move |part| {
        seen.fetch_max(Arc::strong_count(&held), Ordering::Relaxed);
        Ok((part * 100..(part + 1) * 100)
            .map(|number| Counted {
                number,
                _alive: Some(Arc::clone(&held)),
            })
            .collect())
    });
    let lines = open(&Object::json_lines(), folder.path());
    let rows = Rows::new::<Vec<Counted>, Counted>(ROWS, futures::stream::iter(parts));

    let stored = lines.store_rows(slot(1), rows).await.unwrap();

    assert_eq!(stored.rows, Some(ROWS));
    assert!(
        most.load(Ordering::Relaxed) < 500,
        "{most:?} rows were in memory at a time"
    );
}

const FORMATS: [fn() -> Object; 4] = [Object::json, Object::json_lines, Object::bincode, Object::postcard];

/// So many rows, which are several megabytes in every format.
const MANY: u64 = 40_000;

async fn many_stored(object: &Object, folder: &Path) -> (Arc<dyn IoManager>, Stored, PathBuf) {
    let manager = open(object, folder);
    let rows: Vec<Row> = (0..MANY).map(Row::numbered).collect();
    let stored = manager.store(slot(0), &Value::new(rows)).await.unwrap();
    assert!(stored.bytes > 2 << 20, "{}", stored.bytes);
    let file = files_below(folder).pop().unwrap();
    (manager, stored, file)
}

#[tokio::test]
async fn rows_that_are_read_one_by_one_never_lie_in_memory_as_a_whole() {
    for object in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let (manager, stored, _) = many_stored(&object(), folder.path()).await;
        let mut parts = manager.load_rows(&stored, TypeInfo::of::<Vec<Row>>()).await.unwrap();
        let mut next = 0;

        while let Some(part) = parts.try_next().await.unwrap() {
            let rows = part.take::<Vec<Row>>().unwrap();
            assert!(rows.len() < 25_000, "{} rows are in memory at a time", rows.len());
            for row in rows {
                assert_eq!(row, Row::numbered(next));
                next += 1;
            }
        }

        assert_eq!(next, MANY);
    }
}

#[tokio::test]
async fn no_row_is_given_of_an_object_that_was_damaged() {
    let ty = TypeInfo::of::<Vec<Row>>();
    for object in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let (manager, stored, file) = many_stored(&object(), folder.path()).await;
        let whole = fs::read(&file).unwrap();
        for at in [0, 1, 1 << 20, (1 << 20) + 7, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&file, &flipped).unwrap();
            let refused = manager.load_rows(&stored, ty).await.err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::Corrupt, "flipped at {at}: {refused}");
            fs::write(&file, &whole[..at]).unwrap();
            let refused = manager.load_rows(&stored, ty).await.err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::Corrupt, "cut at {at}: {refused}");
        }

        fs::write(&file, &whole).unwrap();
        let mut parts = manager.load_rows(&stored, ty).await.unwrap();
        parts.try_next().await.unwrap().unwrap();
        let mut changed = whole;
        let last = changed.len() - 1;
        changed[last] ^= 1;
        fs::write(&file, &changed).unwrap();
        let mut rows = 0;
        let refused = loop {
            match parts.try_next().await {
                Ok(part) => rows += part.expect("it does not end well").take::<Vec<Row>>().unwrap().len(),
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
        assert!(rows > 0, "what came before the damage was given");
    }
}

#[tokio::test]
async fn a_row_that_is_longer_than_what_is_read_at_a_time_comes_whole() {
    for object in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let manager = open(&object(), folder.path());
        let rows: Vec<String> = [10, 5 << 20, 0, 3 << 20, 1].map(|len| "x".repeat(len)).to_vec();
        let stored = manager.store(slot(0), &Value::new(rows.clone())).await.unwrap();

        let parts = manager.load_rows(&stored, TypeInfo::of::<Vec<String>>()).await.unwrap();

        let parts: Vec<Value> = parts.try_collect().await.unwrap();
        let found: Vec<String> = parts
            .into_iter()
            .flat_map(|part| part.take::<Vec<String>>().unwrap())
            .collect();
        assert!(found == rows);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    number: u64,
    name: String,
}

impl Row {
    fn numbered(number: u64) -> Self {
        Self {
            number,
            name: format!("{number} \"is\" [a, number] {{of}} forty letters and more"),
        }
    }
}

/// A row that shows how many there are.
#[derive(Clone, Serialize, Deserialize)]
struct Counted {
    number: u64,
    #[serde(skip)]
    _alive: Option<Arc<()>>,
}

#[test]
fn a_type_without_a_fixed_shape_is_refused_by_a_format_that_needs_one() {
    #[derive(Clone, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u8),
        Text(String),
    }
    let ty = TypeInfo::of::<Either>();

    assert!(Object::json().accepts(ty).is_ok());
    let refused = Object::bincode().accepts(ty).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TypeMismatch);
    assert!(refused.advice().unwrap().contains("json"));
}

#[test]
fn the_path_is_found_in_an_address_that_remembers_more() {
    let text = "v1/00000007/0/0000000000000000-00000000000000000000000000000001-3-1-0.parquet";
    let address = Address::Location(format!("{text}#1f-00").into());

    assert_eq!(ObjectPath::of_address(&address).unwrap().to_string(), text);
}
